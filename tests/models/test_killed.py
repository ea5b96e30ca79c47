"""The recipe's stages, killed five times each at seeded moments: the end is the undisturbed one's.

A child of this process runs the stage, so that a kill costs no new start of the interpreter.
"""

import os
import random
import signal
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import pytest

from steps import params as parameters
from steps.models import fit
from steps.params import ROOT, Run

STEPS, EVERY = 23, 4
NEEDS = {"tower": (), "language": (), "align": ("tower", "language"), "instruct": ("align",)}
SIZES = {"tower_width": 16, "tower_layers": 1, "tower_heads": 2}
SIZES |= {"width": 24, "layers": 2, "heads": 3, "feed_forward": 32}

pytestmark = pytest.mark.slow


def told(stage, checkpoints):
    """What the stage is given: the real world, a tiny model, few steps (the last in bfloat16)."""
    study = parameters.load(Path(__file__).parents[2] / ROOT)
    recipe = study.recipe
    small = {"steps": STEPS, "save_every": EVERY, "batch": 2, "warmup": 3}
    parts = {part: getattr(recipe, part).model_copy(update=small) for part in NEEDS}
    model = recipe.model.model_copy(update=SIZES)
    again = recipe.practise.model_copy(update={"steps": 5, "text_every": 2})
    recipe = recipe.model_copy(update=parts | {"model": model, "text_every": 3, "practise": again})
    run = Run("study", stage, "anew", checkpoints=checkpoints)
    return SimpleNamespace(world=study.world, recipe=recipe, run=run)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Each stage's folder after a run without a stop."""
    root = tmp_path_factory.mktemp("recipe")
    for stage, needs in NEEDS.items():
        (root / stage).mkdir()
        given = told(stage, root / "checkpoints" / stage)
        module = import_module(f"steps.models.{stage}")
        module.run(given, {name: root / name for name in needs}, root / stage)
    return root


def attempt(stage, inputs, checkpoints, out, event=None, step=None):
    """Run a stage in a forked child that a SIGKILL ends at `event`; returns its exit status.

    Events: `step`, at the beginning of one; `write`, half-way through keeping the state behind
    it; `kept`, just after that.
    """
    out.mkdir()
    pid = os.fork()
    if pid == 0:
        try:
            signal.alarm(300)
            _arrange(event, step)
            import_module(f"steps.models.{stage}").run(told(stage, checkpoints), inputs, out)
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitpid(pid, 0)[1]


def _arrange(event, step):
    import safetensors.torch

    rate, keep, save = fit.rate, fit._keep, safetensors.torch.save_file

    def die(now):
        if now == step:
            os.kill(os.getpid(), signal.SIGKILL)

    def half(state, path, **named):
        save(state, path, **named)
        os.truncate(path, os.path.getsize(path) // 2)
        die(step)

    def cut(folder, modules, optimisers, losses):
        if event == "write" and len(losses) == step:
            safetensors.torch.save_file = half
        keep(folder, modules, optimisers, losses)
        die(len(losses))

    if event == "step":
        fit.rate = lambda now, *rest: (die(now), rate(now, *rest))[1]
    elif event in ("write", "kept"):
        fit._keep = cut


def kills(stage):
    """Five moments, each with the steps that the state then kept has behind it."""
    draw = random.Random(f"kill {stage}")
    first, second, third = sorted(draw.sample(range(1, 1 + (STEPS - 1) // EVERY), 3))
    return [
        (("step", draw.randrange(1, EVERY)), 0),
        (("write", first * EVERY), (first - 1) * EVERY),
        (("kept", second * EVERY), second * EVERY),
        (("step", second * EVERY + draw.randrange(1, EVERY)), second * EVERY),
        (("write", third * EVERY), (third - 1) * EVERY),
    ]


@pytest.mark.parametrize("stage", NEEDS)
def test_five_kills_change_nothing(stage, whole, tmp_path):
    inputs = {name: whole / name for name in NEEDS[stage]}
    checkpoints = tmp_path / "checkpoints"
    for number, ((event, step), kept) in enumerate(kills(stage)):
        out = tmp_path / f"out{number}"
        status = attempt(stage, inputs, checkpoints, out, event, step)
        assert status == signal.SIGKILL, (event, step)
        assert list(out.iterdir()) == []
        assert behind(checkpoints) == kept, (event, step)
    out = tmp_path / "out"
    assert attempt(stage, inputs, checkpoints, out) == 0
    files = {p.name: p.read_bytes() for p in (whole / stage).iterdir()}
    assert {p.name: p.read_bytes() for p in out.iterdir()} == files
    assert "losses.json" in files and any(name.endswith(".safetensors") for name in files)


def behind(checkpoints):
    """How many steps the state in a folder of checkpoints has behind it."""
    import json

    from safetensors import safe_open

    path = checkpoints / "state.safetensors"
    if not path.is_file():
        return 0
    with safe_open(path, "pt") as kept:
        return len(json.loads(kept.metadata()["losses"]))
