"""What a study of one's own data cannot have: what needs the embedded world's truth."""

from collections.abc import Iterator
from typing import Any

KNOWING = {
    "tokens": "which words depend on the image",
    "gaze": "where the object asked about is",
    "forget": "labels in the words that the model was taught",
    "localise": "masks of what is asked about",
    "reuse": "scenes to train a new model on",
    "drift": "scenes, and words that describe them",
    **dict.fromkeys(
        "compare quality stability turned controls spatial heads intervene atlas".split(),
        "scenes that can be told in words",
    ),
}
"""Instruments that a study of one's own data leaves out, and what of the world they need."""
MAPS = ("ade20k", "voc", "masks")
PROBES = {"classify": "a label each", "segment": "a map of classes each"}
"""Instruments that probe sets of probes.images, and what of one; nothing of the world is drawn."""


def own_data(params: Any) -> Iterator[str]:
    """One sentence for each key that does not go with data.source = files."""
    instruments = ", ".join(params.instruments)
    for name in params.instruments:
        if name in KNOWING:
            yield (
                f"instruments = {instruments}: {name} is not available with data.source = files, "
                f"it needs {KNOWING[name]}, which only the embedded world tells; leave it out"
            )
        elif name in PROBES and not any(
            (one.layout in MAPS) == (name == "segment") for one in params.probes.images
        ):
            yield (
                f"instruments = {instruments}: {name} probes encoders on probes.images where "
                f"data.source = files, and there are none with {PROBES[name]}: name a folder, as "
                "workflow/studies/own_images.yaml does, or leave it out"
            )
    if params.classify.pca and "classify" in params.instruments:
        yield (
            f"classify.pca = {params.classify.pca}: give 0, because with data.source = files there "
            "are no drawn scenes to find components on"
        )
    for name in ("vqa", "swap"):
        if name in params.instruments and getattr(params, name).margin:
            yield (
                f"{name}.margin = True: give false, because answers to questions of your own have "
                "no closed set that they all belong to"
            )
    for name, base in params.bases.items():
        if base.source in ("bundled", "train") and params.data.size != params.world.canvas:
            yield (
                f"data.size = {params.data.size}: give world.canvas = {params.world.canvas}, the "
                f"side of the images that base {name} reads"
            )
    yield from _arms(params)


def _arms(params: Any) -> Iterator[str]:
    columns, preset, paired = params.data.columns, params.data.preset, params.data.paired
    given = params.data.reward or ("open" if preset == "llava_pretrain" else None)
    is_open = given in ("open", ["open"])
    for name, arm in params.arms.items():
        told = params.arm_section(name)
        key, why = "", ""
        if arm.method == "sft" and told.items == "stage1":
            key, why = "items = 'stage1'", "nothing is known of what your base was made from"
        elif arm.method == "sft" and told.targets == "sampled" and paired:
            key, why = "targets = 'sampled'", "no answers are drawn where rejected ones are given"
        elif arm.method == "sft" and told.targets == "sampled" and is_open:
            key, why = "targets = 'sampled'", "nothing tells a right answer where reward is open"
        elif arm.method == "sft" and told.patch_loss and columns.mask is None:
            key, why = "patch_loss", "data.columns names no mask to tell the tower"
        elif arm.method == "grpo" and told.credit == "oracle":
            key, why = "credit = 'oracle'", "only the embedded world tells which words it needs"
        elif arm.method == "grpo" and is_open and told.reward == "correct":
            key, why = "method = 'grpo'", "nothing tells a right answer where reward is open"
        elif arm.method == "dpo" and is_open and not paired:
            key, why = "method = 'dpo'", "there is no rejected answer: name data.columns.rejected"
        if key:
            yield f"arms.{name}: {key} does not go with data.source = files here: {why}"
    if is_open:
        for name in ("vqa", "sharpen", "swap"):
            if name in params.instruments:
                yield (
                    f"instruments = {', '.join(params.instruments)}: {name} has nothing to judge "
                    "answers by where data.reward = open; leave it out or give another reward"
                )
