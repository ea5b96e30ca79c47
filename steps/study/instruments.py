"""What the page shows: which metrics, in which order, under which names and in which units.

A metric that no stage wrote has no row; one that the study added to a family (a kind of question,
a label) gets its row by itself.
"""

import re

from steps.study import benchmarks, change, forgetting, reused
from steps.study.answers import behaviour
from steps.study.rows import Group, Row, family

TIERS = {
    "asked": "asked about in training",
    "captions": "only in captions",
    "never": "never named in any text",
    "never_named": "never named in any text",
    "digits": "handwritten digits, few shots",
    "photos": "cut-out photographs",
}
PLACES = {
    "": ("What the eye tells", "what the projector reads: the vision tower's own tokens"),
    "proj/": ("Behind the projector", "what the language model is given"),
    "pca/": ("What the eye tells, at a fixed width", "the tower's first principal components"),
    "pca/proj/": ("Behind the projector, at a fixed width", "its first principal components"),
}
OTHERS = {"logistic": "logistic regression", "fused": "linear heads", "knn": "nearest neighbours"}


def groups(names: set[str]) -> list[Group]:
    """The tables for the metrics at hand, without those that would be empty."""
    found = behaviour(names)
    for place, (title, what) in _places(names).items():
        found.append(
            Group(
                f"{title}: classification",
                f"Top-1 of linear probes on {what}, in points, in tiers by how far a label was "
                "from the text the model was trained on. Original: the tower before it met "
                "the language model. Random: the same tower with random weights. Pixels: no "
                "tower. Chance: always the commonest class.",
                "points",
                _tiers(names, place),
            )
        )
        found.append(
            Group(
                f"{title}: classification by other probes",
                "The same labels and images; each probe under its own protocol (DINO's).",
                "points",
                [row for kind in OTHERS for row in _others(names, place, kind)],
            )
        )
        kinds = [kind for _, kind in family(names, rf"{place}segment/([^/]+)/miou")]
        rows = [
            Row(f"{place}segment/{kind}/{measure}", f"{kind} ({word})", baselines=True)
            for measure, word in (("miou", "all classes"), ("miou_objects", "objects only"))
            for kind in kinds
        ]
        found.append(
            Group(
                f"{title}: segmentation",
                "Mean intersection over union of a linear probe on patches, over the whole test "
                "set, in points. Shape, or category, was asked about in training, texture never "
                "named.",
                "points",
                rows,
            )
        )
        found.append(
            Group(
                f"{title}: segmentation, class by class",
                "The same probe: precision, recall and F1 as means over classes, then each class's "
                "own intersection over union, in points.",
                "points",
                [row for kind in kinds for row in _classes(names, place, kind)],
            )
        )
        found.append(
            Group(
                f"{title}: patch by patch",
                "Which classes are in a patch, told by a linear head from its token (Patch-Seg, "
                "PIVOT), and from the image's mean token, which knows no places. The difference "
                "is what is known of places. In points.",
                "points",
                change.patches(names, place),
            )
        )
    found += [*forgetting.groups(names), *benchmarks.groups(names)]
    found += [*change.groups(names), *reused.groups(names)]
    kept = []
    for group in found:
        rows = [
            row
            for row in group.rows
            if {*(row.mean_of or (row.metric,)), *([row.minus] if row.minus else [])} <= names
        ]
        if rows:
            kept.append(Group(group.title, group.caption, group.unit, rows))
    return kept


def _places(names: set[str]) -> dict[str, tuple[str, str]]:
    """Prefixes of places, and how they are called: those of PLACES, and blocks further down."""
    told = dict(PLACES)
    for k in sorted({m[1] for name in names if (m := re.match(r"(?:pca/)?layer(\d+)/", name))}):
        told[f"layer{k}/"] = (f"At block {k}", "the tower's tokens behind that block")
        told[f"pca/layer{k}/"] = (f"At block {k}, at a fixed width", "their principal components")
    return told


def _others(names: set[str], place: str, kind: str) -> list[Row]:
    """A row for each tier, by another probe than ridge."""
    tiers: dict[str, list[str]] = {}
    for name, tier in family(names, rf"{place}classify/([^/]+)/[^/]+/{kind}/top1"):
        tiers.setdefault(tier, []).append(name)
    return [
        Row(
            f"{place}classify/{tier}/{kind}",
            f"{TIERS.get(tier, tier)}: {OTHERS[kind]}",
            mean_of=tuple(found),
            baselines=True,
        )
        for tier, found in tiers.items()
    ]


def _classes(names: set[str], place: str, kind: str) -> list[Row]:
    """Precision, recall and F1 of a kind of map, and the IoU of each of its classes."""
    at = f"{place}segment/{kind}"
    means = [
        Row(f"{at}/{measure}", f"{kind}: {word}", baselines=True)
        for measure, word in (("precision", "precision"), ("recall", "recall"), ("f1", "F1"))
    ]
    return means + [
        Row(name, label, baselines=True, inner=True)
        for name, label in family(names, rf"{at}/iou/([^/]+)")
    ]


def _tiers(names: set[str], place: str) -> list[Row]:
    """A row for each tier, the mean over its labels, and one for each label below it."""
    tiers: dict[str, list[str]] = {}
    for name in sorted(names):
        match = re.fullmatch(rf"{place}classify/([^/]+)/([^/]+)/top1", name)
        if match:
            tiers.setdefault(match[1], []).append(match[2])
    rows = []
    for tier in sorted(tiers, key=lambda t: (list(TIERS).index(t) if t in TIERS else 99, t)):
        labels, words = tiers[tier], TIERS.get(tier, tier)
        names_of = {label: f"{place}classify/{tier}/{label}" for label in labels}
        own = labels if len(labels) > 1 else []
        rows.append(
            Row(
                f"{place}classify/{tier}",
                words if own else f"{words}: {labels[0]}",
                mean_of=tuple(f"{names_of[label]}/top1" for label in labels),
                chance="*",
                baselines=True,
            )
        )
        rows += [
            Row(
                f"{names_of[label]}/top1",
                label,
                chance=f"{names_of[label]}/chance",
                baselines=True,
                inner=True,
            )
            for label in own
        ]
    return rows
