"""The contract: a stage's folder is complete or absent, and says what it was made from."""

import errno
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

from steps import codedeps, manifest, stage
from steps.params import ParamsError

ROOT = Path(__file__).parents[1]


@pytest.fixture
def call(tmp_path, monkeypatch):
    """`call(run, ...)`: execute a function as the stage `vqa` of a study below tmp_path."""
    monkeypatch.setenv("SIGHTLINE_MIRROR", "off")
    monkeypatch.setitem(stage.STAGES, "vqa", "toy_stage")
    monkeypatch.setattr(codedeps, "digest", lambda module: "code")
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    out = tmp_path / "results/embedded/vqa/bundled/sft/seed0"

    def execute(run, keys=("vqa",), inputs=None, **who):
        module = ModuleType("toy_stage")
        module.run = run
        monkeypatch.setitem(sys.modules, "toy_stage", module)
        who = {"base": "bundled", "arm": "sft", "seed": 0} | who
        return stage.execute("vqa", tmp_path / "params.yaml", out, list(keys), inputs or {}, **who)

    execute.out, execute.root, execute.params = (
        out,
        tmp_path / "results/embedded",
        tmp_path / "params.yaml",
    )
    return execute


def good(params, inputs, out):
    (out / "deep").mkdir()
    (out / "deep" / "answers.txt").write_text(f"{params.vqa.batch} {params.run.seed}")
    return {"vqa/lenient": 0.5, "vqa/items": 3}


def left(call):
    """Every file below the study's folder but the event log."""
    paths = (p for p in call.root.rglob("*") if p.is_file() and ".events" not in p.parts)
    return sorted(p.relative_to(call.root).as_posix() for p in paths)


HERE = "vqa/bundled/sft/seed0"


def test_a_finished_stage_leaves_payload_metrics_manifest_and_record(call):
    assert call(good) == {"vqa/lenient": 0.5, "vqa/items": 3}
    assert left(call) == [
        f"{HERE}.record.json",
        f"{HERE}/deep/answers.txt",
        f"{HERE}/manifest.json",
        f"{HERE}/metrics.json",
    ]
    assert json.loads((call.out / "metrics.json").read_text()) == {
        "vqa/lenient": 0.5,
        "vqa/items": 3,
    }
    facts = manifest.read(call.out)
    assert set(facts["files"]) == {"deep/answers.txt", "metrics.json"}
    assert facts["stage"] == "vqa" and facts["arm"] == "sft" and facts["seed"] == 0
    assert list(facts["params"]) == ["vqa"] and facts["code"] == "code"
    assert facts["versions"]["torch"]
    record = json.loads((call.out.parent / "seed0.record.json").read_text())
    assert record["status"] == "finished" and record["wall_s"] >= 0 and record["peak_mb"] > 1
    assert record["threads"] == 1


def test_two_runs_leave_the_same_bytes(call):
    call(good)
    first = {p: p.read_bytes() for p in call.out.rglob("*") if p.is_file()}
    call(good)
    assert {p: p.read_bytes() for p in call.out.rglob("*") if p.is_file()} == first


@pytest.mark.parametrize("error", [RuntimeError("no"), KeyboardInterrupt(), SystemExit(143)])
def test_a_failed_stage_leaves_nothing(call, error):
    def bad(params, inputs, out):
        (out / "half.txt").write_text("half")
        raise error

    with pytest.raises(type(error)):
        call(bad)
    assert left(call) == []


def test_a_failed_stage_leaves_the_older_result_alone(call):
    call(good)
    before = left(call)

    def bad(params, inputs, out):
        raise RuntimeError

    with pytest.raises(RuntimeError):
        call(bad)
    assert left(call) == before and manifest.check(call.out)


def test_a_full_disk_is_one_sentence_and_leaves_nothing(call, capsys):
    def full(params, inputs, out):
        (out / "half.txt").write_text("half")
        with open("/dev/full", "w") as file:
            file.write("x")
            file.flush()
        return {}

    with pytest.raises(OSError) as error:
        call(full)
    assert error.value.errno == errno.ENOSPC
    assert stage.guard(lambda: call(full)) == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("sightline: cannot write") and "make room" in said
    assert left(call) == []


def test_a_full_disk_at_the_manifest_leaves_nothing(call, monkeypatch):
    def full(folder, facts):
        (folder / "manifest.json").write_text("{")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(manifest, "write", full)
    with pytest.raises(OSError):
        call(good)
    assert left(call) == []


@pytest.mark.parametrize(
    ("metrics", "said"),
    [
        ({"vqa/x": float("nan")}, "metric vqa/x = nan is not a finite number"),
        ({"vqa/x": "many"}, "metric vqa/x = 'many' is not a finite number"),
        (None, "stage vqa returned NoneType: it must return a dict"),
    ],
)
def test_metrics_are_finite_numbers(call, metrics, said):
    with pytest.raises(stage.StageError, match=said):
        call(lambda params, inputs, out: metrics)
    assert left(call) == []


def test_numpy_numbers_become_plain(call):
    import numpy

    metrics = call(lambda p, i, o: {"a": numpy.float32(0.5), "b": numpy.int64(3)})
    assert metrics == {"a": 0.5, "b": 3} and type(metrics["b"]) is int


def test_an_undeclared_section_raises(call):
    with pytest.raises(AttributeError, match=r"stage vqa reads params\.grpo, which its rule"):
        call(lambda params, inputs, out: {"x": params.grpo.beta})


@pytest.fixture
def model(call):
    """A finished input inside the study."""
    folder = call.root / "model/bundled/sft/seed0"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(bytes(1000))
    (folder / "config.json").write_text("{}")
    manifest.write(folder, {})
    return folder


def test_inputs_are_handed_on_and_recorded(call, model):
    seen = {}

    def look(params, inputs, out):
        seen.update(inputs)
        return {}

    call(look, inputs={"model": model})
    assert seen == {"model": model}
    assert manifest.read(call.out)["inputs"] == {"model": manifest.digest(model / "manifest.json")}


def spoil(path, how):
    """Damage an input folder in one way."""
    weights = path / "model.safetensors"
    match how:
        case "truncated":
            weights.write_bytes(weights.read_bytes()[:500])
        case "flipped":
            weights.write_bytes(bytes(999) + b"x")
        case "removed":
            weights.unlink()
        case "added":
            (path / "more.txt").write_text("x")
        case "unfinished":
            (path / "manifest.json").unlink()
        case "torn":
            (path / "manifest.json").write_text("{")
        case "absent":
            path.rename(path.with_name("elsewhere"))


SAID = {
    "truncated": r"model\.safetensors holds 500 bytes where its manifest says 1000: remove",
    "flipped": r"model\.safetensors is not what its manifest says: remove",
    "removed": r"model\.safetensors is missing: remove",
    "added": r"more\.txt is not in its manifest: remove",
    "unfinished": r"has no manifest\.json, so it is not finished: run the stage",
    "torn": r"manifest\.json cannot be read .*: remove",
    "absent": r"input model: .* does not exist",
}


@pytest.mark.parametrize("how", SAID)
def test_a_damaged_input_is_refused_in_one_sentence(call, model, how):
    spoil(model, how)
    before = left(call)
    with pytest.raises(manifest.Damaged, match=SAID[how]) as error:
        call(good, inputs={"model": model})
    assert "\n" not in str(error.value)
    assert left(call) == before


def test_a_folder_of_results_is_checked_result_by_result(call, model):
    call(lambda p, i, o: {}, inputs={"models": call.root / "model"})
    first = manifest.read(call.out)["inputs"]["models"]
    spoil(model, "flipped")
    with pytest.raises(manifest.Damaged, match=r"sft/seed0/model\.safetensors is not what"):
        call(lambda p, i, o: {}, inputs={"models": call.root / "model"})
    manifest.write(model, {})
    call(lambda p, i, o: {}, inputs={"models": call.root / "model"})
    assert manifest.read(call.out)["inputs"]["models"] != first


def test_what_engines_leave_in_a_folder_does_not_count(call, model):
    (model / ".snakemake_timestamp").touch()
    assert manifest.check(model) == manifest.digest(model / "manifest.json")


def test_an_input_from_outside_needs_no_manifest(call, tmp_path):
    folder = tmp_path / "models/bundled"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    call(good, inputs={"weights": folder})
    first = manifest.read(call.out)["inputs"]["weights"]
    (folder / "config.json").write_text("{ }")
    call(good, inputs={"weights": folder})
    assert manifest.read(call.out)["inputs"]["weights"] != first


def test_what_no_longer_follows_is_not_published(call, model):
    """An orphan that finishes after params or inputs were changed must not replace anything."""

    def slow_params(params, inputs, out):
        text = call.params.read_text()
        call.params.write_text(text.replace("  batch: 64", "  batch: 63"))
        return {}

    with pytest.raises(stage.StageError, match="params.yaml changed while the stage ran"):
        call(slow_params)

    def slow_input(params, inputs, out):
        spoil(model, "flipped")
        manifest.write(model, {})
        return {}

    with pytest.raises(stage.StageError, match="seed0 changed while the stage ran"):
        call(slow_input, inputs={"model": model})
    assert not call.out.exists()


def test_checkpoints_outlive_a_failure_and_belong_to_their_params(call):
    seen = []

    def fail(params, inputs, out):
        seen.append(params.run.checkpoints)
        (params.run.checkpoints / "step").write_text("7")
        raise RuntimeError

    def resume(params, inputs, out):
        seen.append(params.run.checkpoints)
        return {"step": int((params.run.checkpoints / "step").read_text())}

    with pytest.raises(RuntimeError):
        call(fail)
    text = call.params.read_text()
    call.params.write_text(text.replace("  max_tokens: 32", "  max_tokens: 31"))
    with pytest.raises(FileNotFoundError):
        call(resume)
    call.params.write_text(text)
    assert call(resume) == {"step": 7}
    assert seen[0] == seen[2] != seen[1]
    assert not seen[0].is_relative_to(call.out) and not seen[0].exists()


def test_half_made_folders_of_dead_processes_go(call):
    call.out.parent.mkdir(parents=True)
    host = stage.Place(call.out, "embedded").temporary().name.split("-")[1]
    dead = call.out.parent / f".seed0.tmp-{host}-4194305-abc"  # above the largest pid
    other = call.out.parent / f".seed0.tmp-{host}-1-abc"
    for folder in (dead, other):
        folder.mkdir()
        (folder / "half").touch()
    call(good)
    assert not dead.exists() and other.exists()


def test_seeds_and_threads_are_set(call, monkeypatch):
    import random

    def draw(params, inputs, out):
        return {"x": random.random(), "threads": params.run.threads}

    first = call(draw)
    assert call(draw) == first and call(draw, seed=1)["x"] != first["x"]
    monkeypatch.setenv("OMP_NUM_THREADS", "two")
    with pytest.raises(stage.StageError, match="OMP_NUM_THREADS = 'two'"):
        call(draw)


def test_wrong_params_stop_a_stage_before_it_starts(call):
    call.params.write_text(call.params.read_text() + "spam: 1\n")
    with pytest.raises(ParamsError, match="spam = 1 is not a key"):
        call(good)
    assert left(call) == []
