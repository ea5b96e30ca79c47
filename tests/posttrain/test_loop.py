"""Around a training: a killed one ends as an undisturbed one does, and its log tells all of it."""

import os
import signal
from importlib import import_module
from types import SimpleNamespace

import numpy as np
import pytest

from steps import halt
from steps.posttrain import loop
from steps.stage import StageError


def attempt(method, told, inputs, out, kill=None, by=signal.SIGKILL):
    """Run a stage in a forked child that gets a signal at `kill`; returns its exit status.

    kill: (event, step). Events are those of a training's callbacks, and `write`, half-way
    through writing a checkpoint.
    """
    pid = os.fork()
    if pid == 0:
        try:
            signal.alarm(300)
            halt.watch()
            if kill:
                _arrange(*kill, by)
            metrics = import_module(f"steps.posttrain.{method}").run(told, inputs, out)
            (out / "told").write_text(repr(sorted(metrics.items())))
            os._exit(0)
        except halt.Halted as ended:
            os._exit(ended.code)
        finally:
            os._exit(1)
    return os.waitpid(pid, 0)[1]


def _arrange(event, step, by):
    from transformers import Trainer

    def at(state):
        if state.global_step == step:
            os.kill(os.getpid(), by)

    if event == "write":
        whole = Trainer._save_rng_state
        Trainer._save_rng_state = lambda self, *a: (at(self.state), whole(self, *a))
    else:
        whole = getattr(loop.Watch, event)

        def cut(self, args, state, control, *rest, **named):
            after = whole(self, args, state, control, *rest, **named)
            at(state)
            return after

        setattr(loop.Watch, event, cut)


KILLS = [  # where a SIGKILL falls, and the newest checkpoint that it leaves
    (("on_step_end", 1), None),
    (("write", 2), None),
    (("on_save", 2), "step-2"),
    (("on_pre_optimizer_step", 2), "step-2"),
    (("write", 4), "step-2"),
]
LATE = [*KILLS[:3], (("on_save", 4), "step-4"), (("on_log", 5), "step-4")]

SLOW = [("dpo", LATE), ("grpo", KILLS)]


@pytest.mark.parametrize(
    "method, kills",
    [("sft", KILLS), *(pytest.param(*p, marks=pytest.mark.slow) for p in SLOW)],
)
def test_five_kills_change_nothing(method, kills, trained, inputs, params, weights, tmp_path):
    told = params(checkpoints=tmp_path / "checkpoints")
    told.run.checkpoints.mkdir()
    for number, (kill, left) in enumerate(kills):
        out = tmp_path / f"out{number}"
        out.mkdir()
        assert attempt(method, told, inputs, out, kill) == signal.SIGKILL, kill
        assert not (out / "model.safetensors").exists()
        found = loop.newest(told.run.checkpoints)
        assert (found and found.name) == left
    out = tmp_path / "out"
    out.mkdir()
    assert attempt(method, told, inputs, out) == 0
    whole, metrics = trained[method]
    mine, theirs = weights(out), weights(whole)
    assert {n for n in theirs if not np.array_equal(mine[n], theirs[n])} == set()
    assert (out / "told").read_text() == repr(sorted(metrics.items()))
    assert (out / "curves.json").read_bytes() == (whole / "curves.json").read_bytes()


def test_notice_of_a_time_limit_ends_at_the_next_checkpoint_and_changes_nothing(
    trained, inputs, params, weights, tmp_path
):
    told = params(checkpoints=tmp_path / "checkpoints")
    told.run.checkpoints.mkdir()
    out = tmp_path / "out"
    out.mkdir()
    for step, left in ((1, "step-2"), (4, "step-4")):  # of 5, with a checkpoint every second
        status = attempt("sft", told, inputs, out, ("on_step_end", step), signal.SIGUSR1)
        assert os.waitstatus_to_exitcode(status) == halt.AGAIN
        assert loop.newest(told.run.checkpoints).name == left
    # Notice before the last step, after which nothing is left to be done: it ends as it would.
    assert attempt("sft", told, inputs, out, ("on_step_end", 5), signal.SIGUSR1) == 0
    theirs = weights(trained["sft"][0])
    assert all(np.array_equal(w, theirs[n]) for n, w in weights(out).items())
    assert (out / "curves.json").read_bytes() == (trained["sft"][0] / "curves.json").read_bytes()


@pytest.mark.slow
def test_kills_in_either_part_of_sft_and_dpo_change_nothing(inputs, params, weights, tmp_path):
    own = {"dpo": {"sft_epochs": 1.0}}
    told = params(checkpoints=tmp_path / "checkpoints", **own)
    told.run.checkpoints.mkdir()
    for name in ("out", "whole"):
        (tmp_path / name).mkdir()
    for kill in (("on_save", 4), ("on_step_end", 3)):  # in SFT; then, gone on from there, in DPO
        assert attempt("dpo", told, inputs, tmp_path / "out", kill) == signal.SIGKILL
    assert loop.newest(told.run.checkpoints).name == "step-2"
    assert attempt("dpo", told, inputs, tmp_path / "out") == 0
    assert attempt("dpo", params(**own), inputs, tmp_path / "whole") == 0
    mine, theirs = weights(tmp_path / "out"), weights(tmp_path / "whole")
    assert {n for n in theirs if not np.array_equal(mine[n], theirs[n])} == set()
    assert (tmp_path / "out/told").read_text() == (tmp_path / "whole/told").read_text()


def test_a_run_killed_after_its_last_step_only_writes(trained, inputs, params, weights, tmp_path):
    told = params(checkpoints=tmp_path / "checkpoints")
    told.run.checkpoints.mkdir()
    out = tmp_path / "out"
    out.mkdir()
    assert attempt("sft", told, inputs, out, ("on_save", 5)) == signal.SIGKILL
    assert loop.newest(told.run.checkpoints).name == "step-5"
    assert attempt("sft", told, inputs, out) == 0
    whole = trained["sft"][0]
    theirs = weights(whole)
    assert all(np.array_equal(w, theirs[n]) for n, w in weights(out).items())
    assert (out / "curves.json").read_bytes() == (whole / "curves.json").read_bytes()


def test_only_complete_checkpoints_are_seen_and_old_ones_go(tmp_path):
    assert loop.newest(tmp_path) is None and loop.newest(None) is None
    watch = loop.Watch(tmp_path, "sft.learning_rate")
    for step in (2, 4, 10):
        work = tmp_path / ".work"
        (work / f"checkpoint-{step}").mkdir(parents=True)
        state = SimpleNamespace(global_step=step, max_steps=20)
        watch.on_save(SimpleNamespace(output_dir=str(work), device="cpu"), state, None)
    assert sorted(p.name for p in tmp_path.glob("step-*")) == ["step-10", "step-4"]
    assert loop.newest(tmp_path).name == "step-10"
    # An orphan that comes late leaves what is there.
    (tmp_path / "step-10" / "mine").touch()
    (work / "checkpoint-10").mkdir()
    watch.on_save(SimpleNamespace(output_dir=str(work), device="cpu"), state, None)
    assert (tmp_path / "step-10" / "mine").exists() and not (work / "checkpoint-10").exists()


def test_the_event_log_has_each_point_once_and_no_times(monkeypatch, inputs, params, tmp_path):
    points = []
    monkeypatch.setattr(loop.log, "metrics", lambda values, step: points.append((step, values)))
    told = params(train={"log_every": 3, "checkpoint_every": 2}, checkpoints=tmp_path / "kept")
    told.run.checkpoints.mkdir()
    (tmp_path / "out").mkdir()
    import_module("steps.posttrain.sft").run(told, inputs, tmp_path / "out")
    # Every third step, every checkpoint, and the end.
    assert [step for step, _ in points] == [2, 3, 4, 5]
    assert all(
        {"train/loss", "train/grad_norm", "train/learning_rate"} <= set(v) for _, v in points
    )
    assert not [name for _, values in points for name in values if "runtime" in name]
    # Cosine from the peak: no warm-up in five steps of 3 %.
    rates = [values["train/learning_rate"] for _, values in points]
    peak = told.sft.learning_rate
    expected = [peak * 0.5 * (1 + np.cos(np.pi * (step - 1) / 5)) for step in (2, 3, 4, 5)]
    np.testing.assert_allclose(rates, expected, rtol=1e-6)


@pytest.mark.parametrize("rank", [0, 2])
def test_a_part_learns_at_its_share_of_the_rate(rank, inputs, params, weights, tmp_path):
    """After one step of Adam: its first moves are the rate, whatever the gradient's size."""
    start, found = weights(inputs["base"] / "instruct"), {}
    for share in (1.0, 0.25):
        rates = {"tower": share, "projector": 0.0, "language": 1.0}
        told = params(
            train={"rates": rates, "lora": {"rank": rank, "alpha": 4.0}}, sft={"epochs": 1e-6}
        )
        out = tmp_path / str(share)
        out.mkdir()
        import_module("steps.posttrain.sft").run(told, inputs, out)
        found[share] = {n: w - start[n] for n, w in weights(out).items()}
    whole, quarter = found.values()
    for name, moved in whole.items():
        share = 0.25 if "vision_tower" in name else 1.0
        assert np.allclose(quarter[name], moved * share, rtol=1e-3, atol=1e-6), name
        assert not moved.any() or "projector" not in name
    assert any(moved.any() for name, moved in whole.items() if "vision_tower" in name)


def test_what_is_not_finite_names_step_and_key():
    import torch

    watch = loop.Watch(None, "dpo.learning_rate")
    model = torch.nn.Linear(2, 1)
    state = SimpleNamespace(global_step=6, max_steps=9)
    model.weight.grad = torch.tensor([[1.0, 2.0]])
    watch.on_pre_optimizer_step(None, state, None, model=model)
    for value, name in ((float("inf"), "inf"), (float("nan"), "nan")):
        model.weight.grad[0, 1] = value
        said = rf"the gradient is {name} at step 7: lower dpo\.learning_rate"
        with pytest.raises(StageError, match=said):
            watch.on_pre_optimizer_step(None, state, None, model=model)
    with pytest.raises(StageError, match=r"the loss is inf at step 6: lower dpo\.learning_rate"):
        watch.on_log(None, state, None, logs={"loss": float("inf")})


def test_dropout_is_off_everywhere():
    import torch

    model = torch.nn.Sequential(torch.nn.Dropout(0.3), torch.nn.Linear(1, 1))
    model[1].attention_dropout = 0.2
    loop._still(model)
    assert model[0].p == 0.0 and model[1].attention_dropout == 0.0
