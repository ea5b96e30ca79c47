"""What the probes make of no encoder at all: a random tower, and the pixels themselves.

The same probes on the same images as for every arm. `random/`: a tower of the base's own
configuration with seeded random weights. `pixels/`: every patch's pixels as its token.
"""

from pathlib import Path
from typing import Any

import numpy as np

from steps.encoder import classify, scores, segment
from steps.encoder.features import cache, load


def run(params: Any, inputs: dict[str, Path], out: Path) -> dict[str, float]:
    """Both probes on both baselines, for the base in `inputs['base']` and one seed.

    params.features.batch, params.classify, params.probes and params.segment as in the stages
    `features`, `classify` and `segment`.
    Returns their metrics with the prefixes `random/` and `pixels/`, and writes items.parquet.
    """
    import tempfile

    import torch
    from transformers import AutoModel

    from steps.encoder import tower as towers
    from steps.models import load as models

    vlm = models.vlm(Path(inputs["base"]) / "instruct")
    tower = towers.cut(vlm, vlm.config.vision_feature_layer)
    torch.manual_seed(params.run.seed or 0)
    device = models.device()
    seen = models.reader(models.processor(Path(inputs["base"]) / "instruct").image_processor)
    random = AutoModel.from_config(tower.config).float().eval().to(device)
    side = tower.config.patch_size

    def encode(batch: np.ndarray) -> dict[str, torch.Tensor]:
        x = seen(batch)
        patches = torch.nn.functional.unfold(x, side, stride=side).transpose(1, 2)
        return {"random": towers.read(random, x.to(device)), "pixels": patches}

    metrics, tables = {}, []
    probes = Path(inputs["probes"])
    with tempfile.TemporaryDirectory(dir=out) as cached:
        folder = Path(cached)
        cache(probes, encode, params.features.batch, folder)
        for place in ("random", "pixels"):
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
