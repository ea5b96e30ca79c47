"""The untouched base is the base, byte for byte, and costs nothing."""

import os

from steps.posttrain import none


def test_none_is_the_base(inputs, params, base, tmp_path):
    metrics = none.run(params(), inputs, tmp_path)
    names = sorted(p.name for p in (base / "instruct").iterdir())
    assert sorted(p.name for p in tmp_path.iterdir()) == names
    assert "model.safetensors" in names
    for name in names:
        assert (tmp_path / name).read_bytes() == (base / "instruct" / name).read_bytes()
    assert metrics and set(metrics.values()) == {0}


def test_none_has_the_metrics_of_an_arm_that_trains(inputs, params, trained, tmp_path):
    metrics = none.run(params(), inputs, tmp_path)
    for _, theirs in trained.values():
        assert set(metrics) == {n for n in theirs if n.split("/")[0] in ("budget", "dose")}


def test_where_links_do_not_work_files_are_copied(inputs, params, base, tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    none.run(params(), inputs, tmp_path)
    one, other = tmp_path / "model.safetensors", base / "instruct" / "model.safetensors"
    assert one.read_bytes() == other.read_bytes()
    assert one.stat().st_ino != other.stat().st_ino
