"""docs/families.md, made from the tests that show what it says: run this file to write it."""

from pathlib import Path

from tests.models.families import tiny

PAGE = Path(__file__).parents[3] / "docs" / "families.md"
SHOWN = "tests/models/families/test_families.py"
CAPABILITIES = {
    "forward": "test_forward[{}]",
    "SFT": "test_training[{}-sft]",
    "DPO": "test_training[{}-dpo]",
    "GRPO": "test_training[{}-grpo]",
    "tower in and out": "test_extraction[{}]",
    "attention": "test_attention[{}]",
    "hooks": "test_hooks[{}]",
    "answers": "test_answers[{}]",
}
NAMES = {
    "llava": "LLaVA: SigLIP, Qwen2",
    "llava_onevision": "LLaVA-OneVision: SigLIP, Qwen2",
    "qwen2_5_vl": "Qwen2.5-VL",
    "paligemma": "PaliGemma: SigLIP, Gemma",
    "gemma3": "Gemma 3: SigLIP",
    "llava-clip": "LLaVA: CLIP, Qwen2",
    "llava-dinov2": "LLaVA: DINOv2, Qwen2",
    "llava-qwen3": "LLaVA: SigLIP, Qwen3",
    "llava-llama3": "LLaVA: SigLIP, Llama 3",
    "llava-smollm": "LLaVA: SigLIP, SmolLM",
}
HEAD = """# Model families

A base with `source: hub` may be of any of these families. Each was built tiny from its own config
classes, saved as the hub lays it out, taken over and put through the stages; no published weights
were run. SigLIP 2 at one size is SigLIP's class on the hub: its row is SigLIP's. Each cell names
its test in `{shown}`; `python -m
tests.models.families.table` writes this page, and a test holds it to what is tested.

- *forward*: image tokens are counted right; every image goes to its own question.
- *SFT, DPO, GRPO*: the stage moves all weights but those that no gradient reaches: the norm and the
  blocks behind the layer that the projector reads, and DINOv2's mask token.
- *tower in and out*: features inside and outside are equal bit for bit, in reading order, and the
  parts fit back into a model.
- *attention*: the mass on the image is eager attention's within 1e-5.
- *hooks*: residual stream, heads and MLPs are read and replaced.
- *answers*: drawn ones have the log-probabilities of a whole pass, greedy ones are `generate`'s.

"""
TAIL = """
What differs beside that:

| | LLaVA | LLaVA-OneVision | Qwen2.5-VL | PaliGemma | Gemma 3 |
| --- | --- | --- | --- | --- | --- |
| images become | the tower's size | one tile, read twice | a square of 448 pixels, or as near as \
min_pixels and max_pixels allow | the tower's size | the tower's size |
| answers to one question share its image | yes | yes | no, slower | no, slower | no, slower |
| `gaze` | yes | image tokens make no square | no | no | no |
| `localise`, `tokens`, `sft.patch_loss`, GRPO's credit by a corrupted image | yes | no | no \
| no | no |
| its tower is read at | `vision_feature_layer` | the same, of the whole image | its last block, \
in reading order | `last_hidden_state` | `last_hidden_state` |

What a family cannot do, it says in one sentence. Code that a folder brings along is never run. A
PaliGemma's question ends with its first line break: what stands before is seen as a whole. Layers
of Gemma 3 that see no further than a window are read by `watched` only while sequences are shorter.
"""


def page() -> str:
    """The page's text."""
    rows = ["| | " + " | ".join(CAPABILITIES) + " |", "| --- " * (len(CAPABILITIES) + 1) + "|"]
    for kind in tiny.KINDS:
        cells = [f"`{test.format(kind)}`" for test in CAPABILITIES.values()]
        rows.append(f"| {NAMES[kind]} | " + " | ".join(cells) + " |")
    return HEAD.format(shown=SHOWN) + "\n".join(rows) + "\n" + TAIL


if __name__ == "__main__":
    PAGE.write_text(page())
