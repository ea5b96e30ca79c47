"""What the probes make of no post-training at all: the original tower, a random one, the pixels.

The same probes on the same images as for every arm. `original/`: the tower as it was before it met
the language model (the base's model after alignment, in which the tower is frozen; a base from the
hub has none). `random/`: a tower of the base's own configuration with seeded random weights.
`pixels/`: every patch's pixels as its token.
"""

from pathlib import Path
from typing import Any

import numpy as np

from steps.encoder import classify, scores, segment
from steps.encoder.features import cache, load


def run(params: Any, inputs: dict[str, Path], out: Path) -> dict[str, float]:
    """Both probes on all baselines, for the base in `inputs['base']` and one seed.

    params.features.batch, params.classify, params.probes and params.segment as in the stages
    `features`, `classify` and `segment`.
    Returns their metrics with the prefixes `original/`, `random/` and `pixels/`, and writes
    items.parquet.
    """
    import tempfile

    import torch
    from transformers import AutoModel

    from steps.encoder import tower as towers
    from steps.models import load as models

    base = Path(inputs["base"])
    tower = _tower(base / "instruct")
    torch.manual_seed(params.run.seed or 0)
    device = models.device()
    seen = models.reader(models.processor(base / "instruct").image_processor)
    random = AutoModel.from_config(tower.config).float().eval().to(device)
    kept = {"random": random}
    if (base / "aligned").is_dir():
        kept["original"] = _tower(base / "aligned").float().eval().to(device)

    def encode(batch: np.ndarray) -> dict[str, torch.Tensor]:
        x = seen(batch)
        patches = towers.raw(tower, x)
        read = {name: towers.read(one, x.to(device)) for name, one in kept.items()}
        return read | {"pixels": patches}

    metrics, tables = {}, []
    probes = Path(inputs["probes"])
    with tempfile.TemporaryDirectory(dir=out) as cached:
        folder = Path(cached)
        cache(probes, encode, params.features.batch, folder)
        for place in (*kept, "pixels"):
            for instrument in (classify.probe, segment.probe):
                figures, rows, *_ = instrument(
                    lambda name, place=place: load(folder, name, place),
                    probes,
                    params,
                    f"{place}/",
                )
                metrics |= figures
                tables += rows
    scores.write(tables, out)
    return metrics


def _tower(folder: Path) -> Any:
    """A VLM's tower, cut where its projector reads."""
    from steps.encoder import tower as towers
    from steps.models import load as models

    vlm = models.vlm(folder)
    return towers.cut(vlm, towers.own(vlm))
