"""Real stages of the smoke study, killed or given damaged files: complete, absent or refused."""

import json
import os
import random
import resource
import shutil
import signal
import subprocess
import time

import psutil  # accelerate brings it
import pytest

from steps import manifest
from tests import smoke, toy

pytestmark = pytest.mark.slow

STAGES = [
    *("base", "items", "probes", "pairs", "none", "sft", "dpo", "grpo"),
    *(
        "extract",
        "features",
        "classify",
        "segment",
        "baselines",
        "vqa",
        "sharpen",
        "tokens",
        "gaze",
        "swap",
        "forget",
        "drift",
        "localise",
        "reuse",
        "newcomers",
        "cost",
    ),
    *("harvest", "dictionary", "compare", "planted", "quality", "stability", "tuned", "controls"),
    *("turned", "spatial", "heads", "intervene", "atlas", "report"),
]


@pytest.fixture(scope="module")
def study(by_snakemake, tmp_path_factory):
    """A copy of the finished study; every test leaves it as it was."""
    folder = tmp_path_factory.mktemp("faults") / "study"
    return shutil.copytree(by_snakemake, folder, symlinks=True)


@pytest.fixture(scope="module")
def places(study):
    found = smoke.places(study)
    assert sorted(found) == sorted(STAGES)  # a new stage is killed too
    return found


def run(command, study):
    return subprocess.run(
        command, cwd=study, env=toy.surroundings({}), capture_output=True, text=True
    )


def kill(command, study, cpu_s):
    """Start a command and SIGKILL its process group after that much CPU time; whether it died.

    CPU time, since wall time says little of progress on a busy machine.
    """
    process = subprocess.Popen(
        command,
        cwd=study,
        env=toy.surroundings({}),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    watched = psutil.Process(process.pid)
    while process.poll() is None:
        spent = watched.cpu_times()  # of a process that ended but was not waited for, too
        if spent.user + spent.system >= cpu_s:
            os.killpg(process.pid, signal.SIGKILL)
            break
        time.sleep(0.005)
    return process.wait() == -signal.SIGKILL


@pytest.mark.parametrize("stage", STAGES)
def test_a_killed_stage_completes_with_the_same_files(stage, study, places, tmp_path):
    draw = random.Random(f"kill {stage}")
    place, command = draw.choice(places[stage])
    share = draw.uniform(0.3, 0.95)
    out, undisturbed = study / place, tmp_path / "undisturbed"
    cpu_s = json.loads(out.with_name(f"{out.name}.record.json").read_text())["cpu_s"]
    out.rename(undisturbed)
    try:
        for _ in range(4):  # one that is done sooner than it was in the study is killed sooner
            if kill(command, study, share * cpu_s):
                break
            shutil.rmtree(out)
            share *= 0.7
        else:
            pytest.fail(f"{stage} was never caught running")
        if out.exists():  # killed between its last rename and its end
            manifest.check(out, full=True)

        done = run(command, study)
        assert done.returncode == 0, done.stderr
        made, wanted = manifest.read(out), manifest.read(undisturbed)
        manifest.check(out, full=True)
        assert smoke.first_difference(wanted["files"], made["files"]) == "", place
        assert smoke.first_difference(wanted, made) == "", place
        assert list(out.parent.glob(f".{out.name}.tmp-*")) == []
        assert list((study / smoke.RESULTS).glob(f".checkpoints/{stage}-*")) == []
    finally:
        shutil.rmtree(out, ignore_errors=True)
        undisturbed.rename(out)


def test_a_disk_that_fills_up_in_training_costs_nothing_but_time(study, places, tmp_path):
    """The optimiser's state is the largest file: it is what a checkpoint cannot write.

    All methods write theirs by the same loop.
    """
    place, command = next(p for p in places["sft"] if "/sft/" in p[0])
    out, undisturbed = study / place, tmp_path / "undisturbed"
    out.rename(undisturbed)
    limit = 12_000_000
    try:
        done = subprocess.run(
            command,
            cwd=study,
            env=toy.surroundings({}),
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
            capture_output=True,
            text=True,
        )
        assert done.returncode == 1, done.stderr
        last = done.stderr.splitlines()[-1]
        assert last.startswith("sightline: cannot write") and last.endswith("; make room")
        assert not out.exists() and list(out.parent.glob(f".{out.name}.tmp-*")) == []
        done = run(command, study)
        assert done.returncode == 0, done.stderr
        wanted, made = manifest.read(undisturbed), manifest.read(out)
        assert smoke.first_difference(wanted, made) == ""
    finally:
        shutil.rmtree(out, ignore_errors=True)
        undisturbed.rename(out)


def halve(content):
    return content[: len(content) // 2]


def flip(content):
    return content[:-1] + bytes([content[-1] ^ 1])


MODEL, ITEMS = f"{smoke.RESULTS}/model/bundled/sft/seed0", f"{smoke.RESULTS}/items/seed0"
PROBES, BUNDLED = f"{smoke.RESULTS}/probes/seed0", "models/bundled"


@pytest.mark.parametrize(
    ("path", "damage", "reader"),
    [
        (f"{BUNDLED}/instruct/model.safetensors", halve, "base/bundled"),
        (f"{BUNDLED}/aligned/model.safetensors", halve, "base/bundled"),
        (f"{smoke.RESULTS}/base/bundled/instruct/model.safetensors", halve, "pairs/bundled/seed0"),
        (f"{MODEL}/model.safetensors", halve, "extract/bundled/sft/seed0"),
        (f"{MODEL}/model.safetensors", flip, "vqa/bundled/sft/seed0"),
        (f"{ITEMS}/vqa_images.npy", flip, "vqa/bundled/sft/seed0"),
        (f"{ITEMS}/train_images.npy", halve, "pairs/bundled/seed0"),
        (f"{PROBES}/classify_images.npy", flip, "features/bundled/sft/seed0"),
    ],
)
def test_a_damaged_file_stops_its_reader_with_one_sentence(path, damage, reader, study, places):
    command = dict(places[reader.partition("/")[0]])[f"{smoke.RESULTS}/{reader}"]
    out, file = study / smoke.RESULTS / reader, study / path
    before, content, mode = manifest.check(out), file.read_bytes(), file.stat().st_mode
    file.unlink()  # it may be one file with a stage's input or output, by a hard link
    file.write_bytes(damage(content))
    try:
        done = run(command, study)
        assert done.returncode == 1
        said = done.stderr.splitlines()
        assert len(said) == 1 and said[0].startswith(f"sightline: {path} "), done.stderr
        assert manifest.check(out) == before  # what was there is left alone
        assert list(out.parent.glob(".*.tmp-*")) == []
    finally:
        file.write_bytes(content)
        file.chmod(mode)
