"""The page's tables of what changed in an arm, and where: eye or mind, drift, localisation."""

import re

from steps.study.rows import Group, Row, family

PARTS = {
    "tower": "tower",
    "projector": "projector",
    "eye": "eye (tower and projector)",
    "language": "language model",
}
LOSSES = {
    "answer": "the right answer's likelihood (SFT's loss)",
    "preference": "chosen against rejected (DPO's)",
    "reward": "the same, by word (GRPO's)",
    "describe": "a description of the whole image",
}
SPOTS = {"encoder": "tower's output", "projector": "projector's output"}
WAYS = {"flat": "alike in all layers", "decay": "along the decay of attention"}
METHODS = {"gradient": "gradient", "gradcam": "Grad-CAM"}


def groups(names: set[str]) -> list[Group]:
    """The tables, empty ones among them."""
    return [*_swap(names), *_drift(names), *_localise()]


def _swap(names: set[str]) -> list[Group]:
    made = [
        Row(f"swap/lenient/{digits}", _whose(digits), inner=True)
        for digits in ("011", "100", "110", "001")
    ]
    merges = [
        Row(name, f"language model merged, mean {way.split('/')[1]}: {WAYS[way.split('/')[0]]}")
        for name, way in family(names, r"swap/merge/((?:flat|decay)/[\d.]+)")
    ]
    return [
        Group(
            "Eye or mind",
            "Base and arm recombined without training: tower, projector and language model, each "
            "of one or the other. An effect is the mean difference that the arm's part makes, over "
            "all settings of the others (a 2 x 2 x 2 factorial); the interaction is what eye and "
            "language model of the arm gain only together. Right answers, in points. Merges lie "
            "between base and arm, by as much in all layers or along attention's decay (after "
            "FRANK, 2505.16151); both have the arm's eye.",
            "points",
            [Row("swap/total", "the arm's whole gain"), *_effects("swap/", 100), *made, *merges],
        ),
        Group(
            "Eye or mind: margin",
            "The same in nats of the true answer's log-odds, which move before answers do.",
            "nats",
            [Row("swap/margin/total", "the arm's whole gain", scale=1)]
            + _effects("swap/margin/", 1),
        ),
    ]


def _effects(at: str, scale: float) -> list[Row]:
    rows = [Row(f"{at}main/{part}", label, scale=scale) for part, label in PARTS.items()]
    both = Row(f"{at}interaction/eye_language", "eye and language model together", scale=scale)
    return [*rows, both]


def _whose(digits: str) -> str:
    parts = ("tower", "projector", "language model")
    mine = [part for part, digit in zip(parts, digits, strict=True) if digit == "1"]
    return f"answers with the arm's {' and '.join(mine)}"


def _drift(names: set[str]) -> list[Group]:
    layers = [layer for _, layer in family(names, r"drift/cka/(.+)")]
    told = (
        ("cka", "CKA with the reference"),
        ("procrustes", "Procrustes distance to the reference"),
        ("knn", "nearest images shared with the reference"),
        ("weights", "relative change of weights"),
        ("rank", "effective rank"),
    )
    rows = [
        Row(f"drift/{measure}/{layer}", f"{label}: {layer}", scale=1, inner=layer != layers[0])
        for measure, label in told
        for layer in layers
    ]
    gains = [
        Row(name, f"{_depth(where)}", inner=True)
        for name, where in family(names, r"drift/align_gain/(.+)")
    ]
    return [
        Group(
            "How far the tower moved",
            "Layer by layer against a reference arm (drift.reference; `none`, the untouched base, "
            "if nothing else was asked for), on the probe images, averaged over "
            "patches: CKA (Kornblith et al. 2019, debiased) and the share of nearest images are 1 "
            "where nothing moved, the Procrustes distance (0 to 1) and the weights' change 0. "
            "layer0 stands before the first block, proj behind the projector.",
            "measures of their own",
            rows,
        ),
        Group(
            "Agreement with a language model",
            "Mutual nearest neighbours (2405.07987) of what the projector reads and of what the "
            "base's language model makes of a caption of the same image, minus the same for the "
            "reference, in points; by layer of the language model and number of neighbours.",
            "points",
            gains,
        ),
    ]


def _depth(where: str) -> str:
    layer, _, k = where.partition("/")
    return f"{layer} layer, {k.removeprefix('k')} neighbours"


def _localise() -> list[Group]:
    found = []
    for method, word in METHODS.items():
        rows = [
            Row(f"localise/{loss}/{spot}/{method}/enrichment", f"{what}, at the {where}", scale=1)
            for loss, what in LOSSES.items()
            for spot, where in SPOTS.items()
        ]
        null = [
            Row(
                f"localise/random_weights/answer/{spot}/{method}/enrichment",
                f"the first, with random weights, at the {where}",
                scale=1,
                inner=True,
            )
            for spot, where in SPOTS.items()
        ]
        found.append(
            Group(
                f"Where losses look: {word}",
                "Share of a map that falls on the object asked about, by its true mask, over the "
                "object's share of the image: 1 is chance. Every arm under every loss, so that "
                "arms differ in their weights alone.",
                "times chance",
                [*rows, *null],
            )
        )
    return found


def patches(names: set[str], place: str) -> list[Row]:
    """Rows of the probe patch by patch at a place: what is known, and what of it is of places."""
    rows = []
    for name, kind in family(names, rf"{place}segment/([^/]+)/patch/localisation/map"):
        at = re.sub("/localisation/map$", "", name)
        rows += [
            Row(f"{at}/local/map", f"{kind}: mean average precision", baselines=True),
            Row(f"{at}/global/map", "from the image's mean token", baselines=True, inner=True),
            Row(name, "localisation, the difference", baselines=True, inner=True),
            Row(
                f"{at}/local/paper_macro_recall",
                "macro recall at one half (PIVOT's number)",
                baselines=True,
                inner=True,
            ),
        ]
    return rows
