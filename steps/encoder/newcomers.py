"""Encoders that no arm is, re-used on the same terms as the arms' (`steps.encoder.reuse`).

`original/`: the base's tower from before it met a language model, which is what PIVOT's claim
compares with. And every larger original encoder of `reuse.encoders`, under its own name: PIVOT
says that a small encoder with its training overtakes a large one without.
"""

from pathlib import Path
from typing import Any

from steps.encoder import reuse


def run(params: Any, inputs: dict[str, Path], out: Path) -> dict[str, float]:
    """Re-use each of them; writes items.parquet and losses.json.

    inputs: `base`, `items`, and `encoder_<name>` (a SiglipVisionModel's folder) for each of
    `params.reuse.encoders`. Returns the metrics of `reuse` with the prefixes `original/` and
    `<name>/`, and each encoder's size.
    """
    metrics, scored, losses = {}, {}, {}
    for name in ("original", *params.reuse.encoders):
        tower, place = _tower(inputs, name), f"{name}/"
        told = reuse.row(params, inputs, tower, params.run.checkpoints / name)
        metrics |= {place + key: value for key, value in told[0].items()}
        metrics[f"{place}reuse/parameters"] = sum(p.numel() for p in tower.parameters())
        scored[place], losses[place] = told[1:]
    reuse.write(params, scored, losses, out)
    return metrics


rescored = reuse.rescored
"""Its tables are those of `reuse`, with prefixes."""


def _tower(inputs: dict[str, Path], name: str) -> Any:
    """An encoder, read at its last block, without a pooling head."""
    import torch
    from transformers import SiglipVisionModel

    from steps.encoder import tower as towers
    from steps.models import load

    if name == "original":
        vlm = load.vlm(Path(inputs["base"]) / "aligned")
        return towers.cut(vlm, towers.own(vlm))
    tower = SiglipVisionModel.from_pretrained(
        inputs[f"encoder_{name}"],
        dtype=torch.float32,
        attn_implementation="sdpa",
        use_safetensors=True,
        local_files_only=True,
    )
    return towers.trimmed(tower, tower.config.num_hidden_layers, skip=0)
