"""What the page shows: which metrics, in which order, under which names and in which units.

A metric that no stage wrote has no row; one that the study added to a family (a kind of question,
a label) gets its row by itself.
"""

import re
from dataclasses import dataclass, field

PRIMARY = "vqa/lenient"
"""The metric that the headline is about."""


@dataclass(frozen=True)
class Row:
    """One line of a table.

    metric: its name; `minus` a second one taken from it, `mean_of` more to average (then `metric`
    is a name of ours). scale: what a value is multiplied by to be shown. chance: the metric that
    says what guessing gives.
    """

    metric: str
    label: str
    scale: float = 100
    minus: str | None = None
    mean_of: tuple[str, ...] = ()
    chance: str | None = None
    baselines: bool = False
    inner: bool = False


@dataclass(frozen=True)
class Group:
    """A table of the page: its rows, and how to read them."""

    title: str
    caption: str
    unit: str
    rows: list[Row] = field(default_factory=list)


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
    answers = [
        Row(PRIMARY, "right answers, read leniently"),
        Row("vqa/strict-lenient", "strict minus lenient", minus=PRIMARY, mean_of=("vqa/strict",)),
        Row("vqa/ill_formed", "ill-formed answers"),
        Row("vqa/novel/lenient", "right on combinations never trained on"),
    ]
    for blind, word in (("grey", "a grey image"), ("swapped", "another question's image")):
        answers.append(Row(f"vqa/{blind}/lenient", f"right with {word}, facts left out"))
        answers += [
            Row(name, kind, inner=True)
            for name, kind in _family(names, rf"vqa/{blind}/kind/([^/]+)/lenient")
        ]
    parts = [
        Row(name, part if axis == "kind" else f"{axis}: {part}")
        for axis in ("kind", "form", "style")
        for name, part in _family(names, rf"vqa/{axis}/([^/]+)/lenient")
    ]
    found = [
        Group(
            "Answers",
            "Share of questions answered rightly, in points. Lenient asks whether the answer is "
            "right, strict also for the form that was asked for; the difference between them is "
            "format, not sight. With a grey or swapped image only guessing is left.",
            "points",
            answers,
        ),
        Group(
            "Answers, question by question",
            "The same lenient share for each kind of question, each form in which the answer was "
            "asked for and each style of text (style b is rarer in stage 1: recipe.style_b).",
            "points",
            parts,
        ),
        Group(
            "Answers drawn by chance",
            "Draws at temperature sharpen.temperature, in points. A model that is only surer of "
            "what it could already say draws more right answers, but its base's majority reaches "
            "as many, and it has no more questions with a right one among its draws.",
            "points",
            [
                Row("sharpen/draw", "right draws"),
                Row("sharpen/majority", "questions whose commonest draw is right"),
                Row("sharpen/any", "questions with a right draw"),
            ],
        ),
        Group(
            "Words tied to the image",
            "On reference answers: how well a measure tells the words that are known to depend on "
            "the image from the others, in points (chance: 50). Attention is what AT-RL picks its "
            "anchors by, a spoilt image what VPPO picks its pivots by; entropy looks at no image. "
            "Untrained: a model of the same shape with random weights.",
            "points",
            [
                Row("tokens/density/auroc", "attention on the image, AUROC"),
                Row("tokens/untrained/density/auroc", "the same, untrained", inner=True),
                Row("tokens/drift/auroc", "change under a spoilt image, AUROC"),
                Row("tokens/entropy/auroc", "entropy, AUROC"),
                Row("tokens/density/precision", "attention: picked words that depend on it"),
                Row("tokens/drift/precision", "spoilt image: picked words that depend on it"),
                Row("tokens/entropy/precision", "entropy: picked words that depend on it"),
                Row("tokens/overlap/density_drift", "picked by attention and by a spoilt image"),
                Row("tokens/two/share", "share of the more tied of two kinds of words"),
            ],
        ),
        Group(
            "Margin",
            "Mean log-odds of the true answer over the closed set of answers, in nats: it moves "
            "before accuracy does, and above 0 the true answer leads all others together.",
            "nats",
            [Row("vqa/margin", "margin of the true answer", scale=1)],
        ),
    ]
    for place, (title, what) in PLACES.items():
        found.append(
            Group(
                f"{title}: classification",
                f"Top-1 of linear probes on {what}, in points, in tiers by how far a label was "
                "from the text the model was trained on. Random: the same tower with random "
                "weights. Pixels: no tower. Chance: always the commonest class.",
                "points",
                _tiers(names, place),
            )
        )
        kinds = [kind for _, kind in _family(names, rf"{place}segment/([^/]+)/miou")]
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
        for name, label in _family(names, rf"{at}/iou/([^/]+)")
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


def _family(names: set[str], pattern: str) -> list[tuple[str, str]]:
    found = [(name, re.fullmatch(pattern, name)) for name in sorted(names)]
    return [(name, match[1]) for name, match in found if match]
