import pytest
import torch

from steps.diff import activations, dictionary, fit, topk


def files(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def run(params, harvested, out):
    out.mkdir()
    return dictionary.run(params, {"harvest": harvested[0]}, out)


def test_three_dictionaries_that_read_activations_as_they_are(params, harvested, tmp_path):
    metrics = run(params, harvested, tmp_path / "out")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["after", "before", "null"]
    loaded = {}
    for name, cell in dictionary.CELL.items():
        loaded[name], config = dictionary.load(tmp_path / "out" / name)
        assert config["d_in"] == 24 and config["d_sae"] == 48 and config["k"] == 4
        assert config["metadata"]["scale"] == metrics["dictionary/scale"]
        torch.testing.assert_close(loaded[name]["W_dec"].norm(dim=1), torch.ones(48))
        x = activations.read(harvested[0], cell)
        again = topk.decode(loaded[name], *topk.encode(loaded[name], x, 4))
        left = (x - again).square().sum() / (x - x.mean(0)).square().sum()
        assert left < 0.9  # 60 steps: learnt something, in the units of the model
        assert 0 < metrics[f"dictionary/{name}/loss"] < 2
    after = topk.encode(loaded["before"], activations.read(harvested[0], "F"), 4)
    assert after[0].shape[1] == 4
    same = [torch.equal(loaded["before"]["W_dec"], loaded[n]["W_dec"]) for n in ("after", "null")]
    assert same == [False, False]


def test_null_and_after_differ_in_their_activations_alone(params, harvested, tmp_path, monkeypatch):
    """Give `after` the activations of the null: the two must come out equal, bit for bit."""
    monkeypatch.setitem(dictionary.CELL, "after", "D")
    run(params, harvested, tmp_path / "out")
    null, after = (dictionary.load(tmp_path / "out" / n)[0] for n in ("null", "after"))
    assert all(torch.equal(null[name], after[name]) for name in null)


def test_two_runs_give_the_same_bytes(params, harvested, tmp_path):
    one = run(params, harvested, tmp_path / "one")
    other = run(params, harvested, tmp_path / "two")
    assert one == other and files(tmp_path / "one") == files(tmp_path / "two")


class Killed(BaseException):
    pass


@pytest.mark.parametrize("writes", [1, 3, 5, 6])
def test_a_killed_run_goes_on_bit_for_bit(params, harvested, tmp_path, monkeypatch, writes):
    monkeypatch.setattr(fit, "KEEP_EVERY", 25)  # 3 + 2 + 2 checkpoints
    whole = run(params, harvested, tmp_path / "whole")
    params.run.checkpoints = tmp_path / "kept"
    keep, calls = fit._keep, []

    def die(*args):
        keep(*args)
        calls.append(args)
        if len(calls) == writes:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(fit, "_keep", die)
        with pytest.raises(Killed):
            run(params, harvested, tmp_path / "killed")
    points = []
    monkeypatch.setattr(dictionary.log, "metric", lambda *a: points.append(a))
    resumed_at = []
    monkeypatch.setattr(dictionary.log, "resume", resumed_at.append)
    assert run(params, harvested, tmp_path / "resumed") == whole
    assert files(tmp_path / "resumed") == files(tmp_path / "whole")
    steps = [step for name, _, step in points if name.endswith("loss")]
    behind = {1: 25, 3: 60, 5: 90, 6: 115}[writes]
    assert resumed_at == [behind - 1] and steps == list(range(behind, 120))


def test_k_must_be_below_the_width(params, harvested, tmp_path):
    params.diff.k = 48
    with pytest.raises(ValueError, match="diff.k = 48: must be below diff.width = 48"):
        run(params, harvested, tmp_path / "out")
