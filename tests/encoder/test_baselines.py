"""Random tower and pixels go through the very probes of the arms."""

import numpy as np
import pandas as pd

from steps.encoder import baselines


def test_stage(tiny, section, probes, tmp_path):
    import shutil

    base, out = tmp_path / "base", tmp_path / "out"
    out.mkdir()
    shutil.copytree(tiny(), base / "instruct")
    section.run.arm = None
    metrics = baselines.run(section, {"base": base, "probes": probes}, out)
    for place in ("random", "pixels"):
        assert f"{place}/classify/asked/color/top1" in metrics
        assert 0 < metrics[f"{place}/segment/shape/miou"] < 1
    assert metrics["pixels/classify/asked/color/top1"] > 0.9  # a colour is a mean of pixels
    assert {p.name for p in out.iterdir()} == {"items.parquet"}
    items = pd.read_parquet(out / "items.parquet")
    assert items.arm.isna().all()
    assert {i.split("/")[0] for i in items.instrument} == {"random", "pixels"}

    again, other = tmp_path / "again", tmp_path / "other"
    again.mkdir()
    other.mkdir()
    assert baselines.run(section, {"base": base, "probes": probes}, again) == metrics
    section.run.seed = 1
    changed = baselines.run(section, {"base": base, "probes": probes}, other)
    assert changed["random/segment/shape/miou"] != metrics["random/segment/shape/miou"]
    assert np.isfinite(list(changed.values())).all()
