"""The event log: complete, in order, never in the stage's way."""

import ast
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from steps import spool, track
from steps.track import log

STEPS = Path(track.__file__).parent


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A study's folder, with no mirror, and no log left open behind the test."""
    monkeypatch.setenv("SIGHTLINE_MIRROR", "off")
    yield tmp_path / "results" / "study"
    log._close()


def begin(root, stage="sft", arm="sft", params=None, **kwargs):
    return track.start(root, "study", stage, "bundled", arm, 0, params or {"lr": 1e-3}, **kwargs)


def logs(root):
    return sorted((root / spool.EVENTS).glob("*.jsonl"))


def test_without_an_open_log_nothing_happens(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    log.metric("loss", 1.0, 1)
    log.metrics({"loss": 1.0}, 1)
    log.dataset("train", "0" * 64, "train")
    log.figure("a.png")
    log.model("model")
    log.text("words")
    log.resume(3)
    track.finish("finished", {"a": 1.0}, {})
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_a_stage_is_told_whole_and_in_order(root, tmp_path):
    out, final = tmp_path / ".out.tmp", root / "sft"
    attempt = begin(root, params={"train": {"lr": 1e-3}}, out=out, final=final)
    log.metrics({"loss": 0.5, "grad": 2}, 1)
    log.metric("tail", float("nan"))
    log.dataset("train", "ab", "train")
    log.figure(out / "maps" / "a.png")
    log.model(out)
    log.figure(tmp_path / "elsewhere.png")
    log.text("a line\nanother")
    track.finish("finished", {"vqa": 0.5}, {"wall_s": 1.5})
    [path] = logs(root)
    assert path.name == f"sft-bundled-sft-0-{attempt}.jsonl"
    events, end = spool.read(path)
    assert end == path.stat().st_size
    kinds = ["start"] + ["metric"] * 3 + ["dataset", "figure", "model", "figure", "text", "finish"]
    assert [event["event"] for event in events] == kinds
    start, loss, grad, tail, data, figure, model, other, text, finish = events
    who = {"study": "study", "stage": "sft", "base": "bundled", "arm": "sft", "seed": 0}
    assert who.items() <= start.items() and start["params"] == {"train": {"lr": 1e-3}}
    assert start["process"]["pid"] == os.getpid() and start["attempt"] == attempt
    assert (loss["name"], loss["value"], loss["step"]) == ("loss", 0.5, 1)
    assert grad["value"] == 2.0 and tail["value"] != tail["value"] and tail["step"] == 0
    assert (data["name"], data["digest"], data["context"]) == ("train", "ab", "train")
    assert figure["path"] == str(final / "maps" / "a.png") and model["folder"] == str(final)
    assert other["path"] == str(tmp_path / "elsewhere.png")
    assert text["text"] == "a line\nanother"
    assert finish["status"] == "finished" and finish["metrics"] == {"vqa": 0.5}
    assert finish["record"] == {"wall_s": 1.5} and finish["folder"] == str(final)
    times = [event["time"] for event in events]
    assert times == sorted(times) and abs(times[0] - time.time()) < 60


def test_every_attempt_has_a_file_of_its_own(root):
    names = [begin(root) for _ in range(5)]
    assert len(logs(root)) == len(set(names)) == 5
    assert names == sorted(names)  # by which the last attempt is known


def test_levels_that_do_not_apply_and_odd_names_make_a_plain_file_name(root):
    track.start(root, "study", "report", None, None, None, {})
    track.start(root, "study", "base", "org/name of it", None, None, {})
    names = [path.name for path in logs(root)]
    assert names[0].startswith("base-org_name_of_it-_-_-")
    assert names[1].startswith("report-_-_-_-")


def test_an_unknown_status_is_refused(root):
    begin(root)
    with pytest.raises(ValueError, match="'done'.*finished, failed or killed"):
        track.finish("done", {}, {})


def test_a_torn_last_line_waits_for_its_end(root):
    begin(root)
    log.metric("loss", 1.0, 1)
    log.metric("loss", 2.0, 2)
    [path] = logs(root)
    whole = path.read_bytes()
    for cut in (1, 10, len(whole.splitlines()[-1])):
        path.write_bytes(whole[:-cut])
        events, end = spool.read(path)
        assert [event.get("step") for event in events] == [None, 1]
        path.write_bytes(whole)
        rest, last = spool.read(path, end)
        assert [event["step"] for event in rest] == [2] and last == len(whole)


def test_lines_are_read_in_portions(root):
    begin(root)
    for step in range(10):
        log.metric("loss", 1.0, step)
    [path] = logs(root)
    steps, offset, portions = [], 0, 0
    while True:
        events, end = spool.read(path, offset, lines=4)
        if end == offset:
            break
        steps += [event["step"] for event in events if event["event"] == "metric"]
        offset, portions = end, portions + 1
    assert steps == list(range(10)) and portions == 3 and offset == path.stat().st_size


def test_a_full_disk_costs_the_event_and_no_other(root, monkeypatch, capfd):
    begin(root)
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:20]))
    log.metric("loss", 1.0, 1)

    def full(fd, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    log.metric("loss", 1.0, 2)
    monkeypatch.setattr(os, "write", write)
    log.metric("loss", 1.0, 3)
    track.finish("finished", {}, {})
    events, _ = spool.read(logs(root)[0])
    assert [event.get("step", event["event"]) for event in events] == ["start", 3, "finish"]


def test_a_folder_that_refuses_the_log_is_a_warning(root, capfd):
    root.parent.mkdir(parents=True)
    root.write_text("a file where the folder should be")
    begin(root)
    log.metric("loss", 1.0, 1)
    track.finish("finished", {}, {})
    assert capfd.readouterr().err.count("keeps no event log") == 1


def test_a_resumed_attempt_has_the_whole_curve(root):
    begin(root, arm="sft-hot")  # a name that begins alike
    log.metric("loss", -1.0, 1)
    begin(root, params={"lr": 1e-4})
    log.metric("loss", -2.0, 1)
    begin(root)
    for step in range(8):
        log.metric("loss", float(step), step)
    begin(root, params={"lr": 1e-4})  # later, but another study
    log.metric("loss", -3.0, 1)
    begin(root)
    log.resume(5)  # the checkpoint was taken after step 5; 6 and 7 are computed again
    log.metric("loss", 6.5, 6)
    begin(root)
    log.resume(6)  # killed again
    events, _ = spool.read(log._path)
    points = [(event["step"], event["value"]) for event in events if event["event"] == "metric"]
    assert points == [(i, float(i)) for i in range(6)] + [(6, 6.5)]


def test_resuming_the_first_attempt_copies_nothing(root):
    begin(root)
    log.resume(5)
    assert [event["event"] for event in spool.read(log._path)[0]] == ["start"]


def test_a_process_is_known_alive_gone_or_another(monkeypatch):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        was = json.loads(json.dumps(spool.process(child.pid)))
        assert not spool.gone(was)
        assert spool.gone({**was, "began": was["began"] - 1})  # the pid was given away again
        assert spool.gone({**was, "boot": "another"})
        assert not spool.gone({**was, "host": "another", "began": 0})  # out of sight
        assert not spool.gone({**was, "space": "another", "began": 0})
    finally:
        child.send_signal(signal.SIGKILL)
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert spool.gone(was)  # a zombie has ended
    child.wait()
    assert spool.gone(was)


@pytest.fixture
def slow_python(tmp_path, monkeypatch):
    """In Python's place a script that says who it is and then takes its time."""
    script = tmp_path / "python"
    said = tmp_path / "said"
    script.write_text(
        f"#!/bin/sh\nls -l /proc/$$/fd > {said}.fd\n"
        f'echo "$PPID $(cut -d" " -f6,19 /proc/$$/stat) $@" > {said}\nexec sleep 4\n'
    )
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))
    return said


def test_the_mirror_is_nobodys_child_and_nobody_waits(root, slow_python, monkeypatch):
    monkeypatch.delenv("SIGHTLINE_MIRROR")
    began = time.monotonic()
    begin(root)
    track.finish("finished", {}, {})
    assert time.monotonic() - began < 3
    end = time.monotonic() + 20
    while not slow_python.exists() or not slow_python.read_text().endswith("\n"):
        assert time.monotonic() < end, "the mirror was not started"
        time.sleep(0.05)
    parent, session, nice, *command = slow_python.read_text().split()
    assert int(parent) != os.getpid() and int(session) != os.getsid(0)
    assert int(nice) > os.nice(0) or int(nice) == 19
    assert command == ["-m", "steps.mirror", "--root", str(root)]
    handles = Path(f"{slow_python}.fd").read_text()
    assert handles.count("/dev/null") >= 1 and f"{root}/.events/mirror.log" in handles
    assert ".jsonl" not in handles  # else the log would stay open in the mirror


def test_the_mirror_is_started_now_and_then_and_at_the_end(root, monkeypatch):
    started = []
    monkeypatch.setattr(track, "mirror", started.append)
    begin(root)
    log.metric("loss", 1.0, 1)
    assert started == []
    monkeypatch.setattr(track, "SYNC_SECONDS", 0.2)
    end = time.monotonic() + 1
    while time.monotonic() < end:
        log.metric("loss", 1.0, 1)
    assert 2 <= len(started) <= 5
    so_far = len(started)
    track.finish("finished", {}, {})
    assert len(started) == so_far + 1 and set(started) == {root}


def test_a_thousand_events_cost_less_than_a_second(root):
    begin(root)
    began = time.process_time()
    for step in range(1000):
        log.metric("loss", 1.0, step)
    assert time.process_time() - began < 1


def test_the_log_needs_only_the_standard_library():
    code = "import sys, steps.track; print(*{m.split('.')[0] for m in sys.modules})"
    done = subprocess.run(
        [sys.executable, "-S", "-c", code], cwd=STEPS.parent, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) - set(sys.stdlib_module_names) <= {"__main__", "steps"}


def test_mlflow_is_imported_by_the_mirror_alone():
    using = set()
    for path in STEPS.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in getattr(node, "names", []) if hasattr(alias, "name")]
            names.append(getattr(node, "module", None) or "")
            if isinstance(node, ast.Import | ast.ImportFrom):
                if any(name.split(".")[0] == "mlflow" for name in names):
                    using.add(path.relative_to(STEPS).parts[0])
    assert using == {"mirror"}
