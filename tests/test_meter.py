"""What a training takes of its machine: samples in its event log, and never a failure."""

import subprocess
import sys
import threading
import time
from pathlib import Path
from types import ModuleType

import pytest

from steps import meter, nvml, spool, stage, track
from steps.params import load
from steps.track import log

OURS = {"stage_cpu_percentage", "stage_memory_usage_megabytes"}
MLFLOWS = {
    "cpu_utilization_percentage",
    "system_memory_usage_megabytes",
    "system_memory_usage_percentage",
}


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A study's folder, no GPU in sight, and looks that follow each other at once."""
    monkeypatch.setenv("SIGHTLINE_MIRROR", "off")
    monkeypatch.setattr(nvml, "_library", lambda: None)
    monkeypatch.setattr(meter, "INTERVAL", 0.02)
    yield tmp_path / "results" / "study"
    log._close()


def samples(root):
    """The samples in the newest log, by name: steps and values."""
    events, _ = spool.read(max((root / spool.EVENTS).glob("*.jsonl")))
    found = {}
    for event in events:
        if event["event"] == "metric" and event["name"].startswith("system/"):
            found.setdefault(event["name"], []).append((event["step"], event["value"]))
    return found


def until(true):
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def begin(root, name="sft"):
    track.start(root, "study", name, "bundled", "sft", 0, {})
    return meter.watch(name)


def test_a_training_is_sampled_until_it_is_stopped(root):
    sampler = begin(root)
    until(lambda: len(samples(root).get("system/stage_cpu_percentage", [])) > 2)
    sampler.stop()
    found = samples(root)
    assert set(found) == {f"system/{name}" for name in OURS | MLFLOWS}
    for points in found.values():
        assert [step for step, _ in points] == list(range(len(points)))
        assert all(value >= 0 for _, value in points)
    assert all(10 < value < 1e5 for _, value in found["system/stage_memory_usage_megabytes"])
    assert all(0 < value <= 100 for _, value in found["system/system_memory_usage_percentage"])
    time.sleep(0.1)
    assert samples(root) == found
    until(lambda: "meter" not in {thread.name for thread in threading.enumerate()})


def test_other_stages_and_short_ones_are_not(root, monkeypatch):
    begin(root, "vqa")
    assert "meter" not in {thread.name for thread in threading.enumerate()}
    time.sleep(0.1)
    assert samples(root) == {}
    monkeypatch.setattr(meter, "INTERVAL", 10.0)
    looks = []
    monkeypatch.setattr(meter, "sample", lambda: looks.append(1))  # it is not even looked
    begin(root).stop()
    until(lambda: "meter" not in {thread.name for thread in threading.enumerate()})
    assert looks == [] and samples(root) == {}
    assert set(stage.STAGES) >= meter.TRAINING


def test_after_an_hour_looks_are_rare(monkeypatch):
    sampler, looks, now = meter.Sampler(), [], [0.0]

    def wait(seconds):
        now[0] += seconds
        return now[0] > 100 * 3600

    monkeypatch.setattr(meter.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(meter, "sample", lambda: (looks.append(now[0]), ({}, 0.0))[1])
    monkeypatch.setattr(sampler._ended, "wait", wait)
    sampler._look()
    gaps = [b - a for a, b in zip(looks, looks[1:], strict=False)]
    assert sum(at < 3600 for at in looks) == 359 and set(gaps[:350]) == {10.0}
    assert 1000 < len(looks) < 2500 and gaps[-1] > 900


@pytest.mark.parametrize("broken", ["sample", "thread"])
def test_nothing_that_fails_here_fails_a_stage(root, monkeypatch, capfd, broken):
    def refuse(*_, **__):
        raise RuntimeError("no")

    if broken == "sample":
        monkeypatch.setattr(meter, "sample", refuse)
    else:
        monkeypatch.setattr(threading.Thread, "start", refuse)
    sampler = begin(root)
    time.sleep(0.1)
    sampler.stop()
    assert samples(root) == {} and capfd.readouterr() == ("", "")


def test_processes_that_a_stage_started_are_counted_with_it():
    alone, before = meter.sample()
    work = "import time, sys; x = bytearray(200_000_000)\nwhile time.process_time() < 0.5: pass\n"
    work += "print(flush=True); sys.stdin.read()"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", work], **pipes) as child:
        child.stdout.readline()
        together, during = meter.sample()
        child.stdin.close()
    _, after = meter.sample()
    name = "stage_memory_usage_megabytes"
    assert together[name] > alone[name] + 150
    assert during > before + 0.4 and after >= during  # what an ended one took is not forgotten


def test_an_attempt_that_goes_on_leaves_the_samples_of_the_last(root):
    for _ in range(2):
        track.start(root, "study", "sft", "bundled", "sft", 0, {})
        log.resume(5)
        log.metric("train/loss", 1.0, 0)
        log.sample({"system/stage_cpu_percentage": 50.0}, 0)
        log._close()
    first, second = sorted((root / spool.EVENTS).glob("*.jsonl"))
    names = [event.get("name") for event in spool.read(second)[0]]
    assert names == [None, "train/loss", "train/loss", "system/stage_cpu_percentage"]


class Library:
    """NVML with two GPUs, of which the second is a part that does not tell its load."""

    def nvmlDeviceGetCount_v2(self, count):
        count._obj.value = 2
        return 0

    def nvmlDeviceGetHandleByIndex_v2(self, index, device):
        device._obj.value = index + 1
        return 0 if index < 2 else 2

    def nvmlDeviceGetHandleByUUID(self, name, device):
        device._obj.value = 2
        return 0 if name == b"MIG-abc" else 2

    def nvmlDeviceGetMemoryInfo(self, device, memory):
        memory._obj.total, memory._obj.used = 80_000_000_000, 20_000_000_000 * device.value
        return 0

    def nvmlDeviceGetUtilizationRates(self, device, load):
        load._obj.gpu = 75
        return 0 if device.value == 1 else 3

    def nvmlDeviceGetPowerUsage(self, device, power):
        power._obj.value = 350_500
        return 0 if device.value == 1 else 3


@pytest.mark.parametrize(
    ("visible", "first", "second"),
    [(None, 20000, 40000), ("1,0", 40000, 20000), ("MIG-abc", 40000, None), ("0, 7", 20000, None)],
)
def test_gpus_are_told_as_cuda_numbers_them(monkeypatch, visible, first, second):
    monkeypatch.setattr(nvml, "_library", Library)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    found = nvml.told()
    assert found["gpu_0_memory_usage_megabytes"] == first
    assert found.get("gpu_1_memory_usage_megabytes") == second
    whole = "gpu_0" if first == 20000 else "gpu_1"
    assert (f"{whole}_utilization_percentage" in found) is (20000 in (first, second))
    if first == 20000:
        assert found["gpu_0_power_usage_watts"] == 350.5
        assert found["gpu_0_memory_usage_percentage"] == 25


@pytest.mark.parametrize("visible", ["", "-1"])
def test_no_gpu_in_sight_tells_nothing(monkeypatch, visible):
    monkeypatch.setattr(nvml, "_library", Library)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert nvml.told() == {}
    monkeypatch.setattr(nvml, "_library", lambda: None)
    assert nvml.told() == {}


def test_a_machine_without_the_library(monkeypatch):
    def absent(_):
        raise OSError

    monkeypatch.setattr(nvml.ctypes, "CDLL", absent)
    assert nvml._library.__wrapped__() is None


def test_a_stage_tells_its_samples_study_and_arm(root, monkeypatch):
    folder = root.with_name("embedded")

    def run(params, inputs, out):
        until(lambda: samples(folder))
        return {"budget/steps": 1}

    module = ModuleType("toy_training")
    module.run = run
    monkeypatch.setitem(sys.modules, "toy_training", module)
    monkeypatch.setitem(stage.STAGES, "sft", "toy_training")
    monkeypatch.setattr(stage.codedeps, "digest", lambda module: "code")
    params = Path(__file__).parents[1] / "params.yaml"
    stage.execute("sft", params, folder / "model", [], {}, "bundled", "shuffled", 0)
    assert OURS < {name.removeprefix("system/") for name in samples(folder)}
    [path] = (folder / spool.EVENTS).glob("*.jsonl")
    about = spool.read(path, lines=1)[0][0]["about"]
    assert about["title"] == load(params).study.title
    assert about["arm"]["method"] == "sft" and about["arm"]["seeds"] == [0]
    assert about["arm"]["overrides"]["images"] == "shuffled"
