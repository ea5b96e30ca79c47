"""What the page shows: which metrics, in which order, under which names and in which units.

A metric that no stage wrote has no row; one that the study added to a family (a kind of question,
a label) gets its row by itself.
"""

import re

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
}


def groups(names: set[str]) -> list[Group]:
    """The tables for the metrics at hand, without those that would be empty."""
    found = behaviour(names)
    for place, (title, what) in PLACES.items():
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
                "set, in points. Shape was asked about in training, texture never named.",
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
    kept = []
    for group in found:
        rows = [row for row in group.rows if set(row.mean_of or (row.metric,)) <= names]
        if rows:
            kept.append(Group(group.title, group.caption, group.unit, rows))
    return kept


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
