"""The page's table of forgetting: what a model's own eye can tell and the model does not say."""

from steps.study.rows import Group, Row, family

MEASURES = {
    "said": "said by the model",
    "probe": "known to its eye (probe)",
    "lost": "known and not said",
    "gained": "said and not known",
    "none": "answers that name no class",
}
"""What is measured of each label, and what the page calls it."""


def groups(names: set[str]) -> list[Group]:
    """The table, empty where nothing was measured."""
    labels = [label for _, label in family(names, r"forget/([^/]+)/said")]
    means = [Row("forget/gap", "known minus said")]
    means += [Row(f"forget/{name}", f"all labels: {what}") for name, what in MEASURES.items()]
    rows = [
        Row(
            f"forget/{label}/{name}",
            f"{label}: {what}",
            chance=f"classify/asked/{label}/chance" if name in ("said", "probe") else None,
            inner=True,
        )
        for label in labels
        for name, what in MEASURES.items()
    ]
    return [
        Group(
            "Forgetting: what the eye knows and the model does not say",
            "The model is asked to name what its own encoder can classify, on the probes' test "
            "images (EMT, 2309.10313), in points. Known: a linear probe of what the projector "
            "reads is right about the image. A model may well say more than such a probe tells, "
            "and a base may never have learnt to say all: what post-training forgot is the "
            "difference to the untouched base. A count is the sum of its answers, one for "
            "each colour or category. Chance: always the commonest class.",
            "points",
            [*means, *rows],
        )
    ]
