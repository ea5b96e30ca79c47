"""What a user can put right is one sentence; a bug shows its traceback; a full disk is said."""

import resource
import subprocess
import sys

import numpy as np
import pytest

from steps import stage
from steps.params import ParamsError
from steps.place import full
from tests import toy


def fail(error):
    def work():
        raise error

    return work


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ParamsError("vqa.batch = 0 is not allowed"), 2),
        (stage.StageError("the loss is nan at step 3: lower sft.learning_rate"), 1),
        (stage.Missing("there is no model.safetensors: run the stage"), 1),
    ],
)
def test_what_stages_raise_on_purpose_is_one_sentence(error, status, capsys):
    assert stage.guard(fail(error)) == status
    assert capsys.readouterr().err == f"sightline: {error}\n"


@pytest.mark.parametrize(
    "bug",
    [
        ValueError("operands could not be broadcast together"),
        FileNotFoundError(2, "No such file", "x"),
        FloatingPointError("divide by zero"),
        RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
        OSError("no number"),
        KeyError("spam"),
    ],
)
def test_a_bug_shows_itself(bug):
    with pytest.raises(type(bug)):
        stage.guard(fail(bug))


def test_missing_can_be_caught_as_what_it_is():
    assert issubclass(stage.Missing, FileNotFoundError) and issubclass(stage.Missing, ValueError)
    assert str(stage.Missing("there is no x")) == "there is no x"


WRITERS = """
import resource, sys
from pathlib import Path
import numpy, pandas, safetensors.torch, torch
from steps.place import full
here = Path(sys.argv[1])
many = numpy.random.default_rng(0).random(100_000)
writers = {
    "text": lambda: (here / "a.txt").write_text("x" * 100_000),
    "numpy": lambda: numpy.save(here / "a.npy", many),
    "parquet": lambda: pandas.DataFrame({"a": many}).to_parquet(here / "a.parquet"),
    "safetensors": lambda: safetensors.torch.save_file({"a": torch.zeros(9999)}, here / "a.st"),
    "torch": lambda: torch.save({"a": torch.zeros(9999)}, here / "a.pt"),
}
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
for name, write in writers.items():
    try:
        write()
    except Exception as error:
        print(name, full(error))
"""


def test_every_library_that_writes_is_understood_on_a_full_disk(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", WRITERS, str(tmp_path)],
        cwd=toy.ROOT,
        capture_output=True,
        text=True,
    )
    told = dict(line.split() for line in done.stdout.splitlines())
    assert told == dict.fromkeys(("text", "numpy", "parquet", "safetensors", "torch"), "True")


def test_what_only_sounds_like_a_full_disk_is_none():
    assert full(OSError(28, "No space left on device"))
    assert not full(RuntimeError("read failed (os error 5)"))
    assert not full(ValueError("No space left in the batch"))


def limit(size):
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def run_limited(tmp_path, size, *command):
    """A real stage, none of whose files may grow beyond `size` bytes."""
    done = subprocess.run(
        [sys.executable, "-m", "steps", *command, "--out", str(tmp_path / "results/smoke/out")],
        cwd=toy.ROOT,
        env=toy.surroundings({}),
        preexec_fn=limit(size),
        capture_output=True,
        text=True,
    )
    left = [p for p in tmp_path.rglob("*") if p.is_file() and ".events" not in p.parts]
    return done, left


@pytest.mark.slow
@pytest.mark.parametrize(
    ("size", "command"),
    [
        (2_000, "items --seed 0 --keys world,items,data,recipe.captions"),  # a table
        (100_000, "items --seed 0 --keys world,items,data,recipe.captions"),  # an array
        (500_000, "extract --keys extract --input model=models/bundled/instruct"),  # weights
    ],
)
def test_a_real_stage_on_a_full_disk_says_so_and_leaves_nothing(tmp_path, size, command):
    params = toy.ROOT / "workflow/studies/smoke/params.yaml"
    done, left = run_limited(tmp_path, size, *command.split(), "--params", str(params))
    assert done.returncode == 1, done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("sightline: cannot write") and last.endswith("; make room")
    assert "Traceback" not in done.stderr
    assert left == []


def test_diverged_training_of_the_base_is_one_sentence(tmp_path, capsys):
    import torch

    from steps.models.fit import fit
    from steps.params import load

    part = load(toy.ROOT / "params.yaml").recipe.align
    layer = torch.nn.Linear(2, 1)

    def draw(step, rng):
        return torch.full((1, 2), np.nan)

    def loss(batch):
        return layer(batch).sum()

    assert stage.guard(lambda: fit(part, {"layer": layer}, draw, loss, tmp_path, 0)) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "the loss is nan at step 0; lower the part" in said
