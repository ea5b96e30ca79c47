"""How to read each picture: the words below it on the page, and in Snakemake's own report.

`python -m steps.study.captions` prints workflow/report/page.rst, which Snakemake shows: it has no
way to be given a caption but a file.
"""

import textwrap

CAPTIONS = {
    "index": "The whole study on one page: what held of the published claims, what was run, every "
    "arm and instrument beside the untouched base, and the eye, the language model and the credit "
    "one by one. On top stands how large a difference between two arms would have to be for this "
    "study to find it: read every figure with that number in mind.",
    "features": "Features of the language model, one by one: the scenes and words that each fires "
    "most on, with its patches as a heat map, what it tells, how far it turned beside its null, "
    "and the heads that drive it.",
    "claims": "Every claim that was measured: its effect with its interval, in sizes of interest, "
    "towards the published sign (claims of no difference: as it is). Dots are the units, those of "
    "one base on a level. Zero is the bar, where a claim has one. In the grey band an effect is "
    "too small to matter; an arrow stands for what lies further out. Primary claims are bold.",
    "differences": "Each arm minus the untouched base, on the same items and seeds: diamonds are "
    "means over seeds, dots single seeds, lines t intervals. A line across zero leaves the sign "
    "open. Intervals are not corrected for their number.",
    "curves": "A row for each arm that trains, a line for each seed. Every panel has its own axis: "
    "losses of different methods are different quantities, so compare shapes, not heights.",
    "credit": "Reward of each rule over training: the mean over seeds, with its standard error as "
    "a band; grey, plain GRPO.",
    "maps": "The first test scenes of one seed, for each kind of map: the picture, the true map, "
    "and what a linear probe on each arm’s patch tokens makes of it. A colour is one class in all "
    "pictures of a kind; background is dark grey.",
    "drift": "The vision tower beside the reference’s (the untouched base’s, if nothing else was "
    "asked for), layer by layer, on the probe images. layer0 stands before the first block, proj "
    "behind the projector.",
    "gallery": "Questions about one object: the picture, the object’s true outline, and each "
    "loss’s gradient and Grad-CAM on the patch tokens. One scale for all maps of a method, nothing "
    "mended at the borders. A picture for the eye: the tables have the numbers.",
    "roc": "The method on activations whose truth is known: atoms that turned, and how many are "
    "found at which share of false ones.",
    "rotation": "How far each feature’s direction turned, in both orders, against its null: as "
    "many steps on unchanged activations. Only what lies beyond is owed to tuning.",
    "orders": "Both orders at once. x: what the model’s change does once the data have images; y: "
    "what images do once the model is tuned; contours: the null.",
    "spatial": "What tells a relation: the best features on scenes that did not choose them, "
    "beside chance; and whether they follow the image or the words.",
    "heads": "Which heads drive answers and spatial features, signed, by exact patching of the "
    "mirrored scene; and on how few heads it rests.",
    "dose": "Features added dose by dose, and taken away, beside matched foils.",
}
"""By what the picture's file is called up to its first hyphen, as TITLES."""
TITLES = {
    "index": "the whole study",
    "features": "features, one by one",
    "claims": "what held",
    "differences": "differences to the base",
    "curves": "learning curves",
    "credit": "rewards of credit rules",
    "maps": "segmentation maps",
    "drift": "change of the tower by layer",
    "gallery": "where losses look",
    "roc": "the method on known turns",
    "rotation": "rotation of features",
    "orders": "rotation in both orders",
    "spatial": "features that tell relations",
    "heads": "heads that drive answers",
    "dose": "features added and taken away",
}


def title(name: str) -> tuple[str, str]:
    """What a picture shows, and of what (base, arm, seed or paper), by its file's name."""
    kind, _, of = name.partition("-")
    return TITLES.get(kind, kind), of.replace("-", ", ")


def template() -> str:
    """workflow/report/page.rst: Snakemake fills in the picture's name."""
    lines = ['{% set kind = snakemake.wildcards.name.partition("-")[0] %}']
    for i, (kind, caption) in enumerate(CAPTIONS.items()):
        lines.append(f'{{% {"elif" if i else "if"} kind == "{kind}" %}}')
        lines += textwrap.wrap(caption, 100)
    return "\n".join([*lines, "{% endif %}", ""])


if __name__ == "__main__":
    print(template(), end="")
