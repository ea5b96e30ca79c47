"""A stage that is killed leaves nothing that looks finished, and the next run completes."""

import os
import shutil
import signal
import subprocess

import pytest

from steps import manifest
from tests import toy

OUT = "results/embedded/items/seed0"
RESULTS = 40
"""Of the stand-in's study with few instruments."""
COMMAND = (
    *("steps", "items", "--params", "params.yaml", "--keys", "world,items"),
    *("--seed", "0", "--out", OUT),
)


def start(house):
    """Start the stage and wait until it is half-way."""
    process = subprocess.Popen(
        toy.line(COMMAND),
        cwd=house,
        env=toy.surroundings({"TOY": "hang:items"}),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "half-way\n"
    return process


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_killed_stage_leaves_nothing_that_looks_finished(house, how):
    undisturbed = toy.call(house, *COMMAND)
    assert undisturbed.returncode == 0, undisturbed.stderr
    wanted = (house / OUT / "manifest.json").read_bytes()
    (house / OUT).rename(house / "undisturbed")

    process = start(house)
    assert not (house / OUT).exists()
    process.send_signal(how)
    assert process.wait(60) != 0
    assert not (house / OUT).exists()
    if how != signal.SIGKILL:
        assert list((house / OUT).parent.glob(".seed0.tmp-*")) == []

    assert toy.call(house, *COMMAND).returncode == 0
    assert (house / OUT / "manifest.json").read_bytes() == wanted
    assert manifest.check(house / OUT)
    assert list((house / OUT).parent.glob(".seed0.tmp-*")) == []


def test_two_at_once_leave_one_whole_result(house):
    """An orphan and its successor: the one that ends last replaces the other's equal folder."""
    orphan = start(house)
    assert toy.call(house, *COMMAND).returncode == 0
    assert manifest.check(house / OUT)
    orphan.kill()
    orphan.wait()
    assert manifest.check(house / OUT)


@pytest.fixture(scope="module")
def undisturbed(bare, tmp_path_factory):
    """A study of few instruments that nobody killed; read it only."""
    folder = tmp_path_factory.mktemp("undisturbed") / "study"
    toy.few(shutil.copytree(bare, folder, symlinks=True))
    done = toy.call(folder, "snakemake", "--cores", "2", "--quiet")
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["snakemake", "dvc"])
def test_a_killed_study_completes_with_the_same_figures(engine, house, undisturbed, tmp_path):
    toy.few(house)
    command = {"snakemake": ("snakemake", "--cores", "2", "--quiet"), "dvc": ("dvc", "repro")}
    said = tmp_path / "said"
    with said.open("w") as file:
        process = subprocess.Popen(
            toy.line(command[engine]),
            cwd=house,
            env=toy.surroundings({"TOY": "hang:dpo"}),
            stdout=file,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    # Snakemake's jobs write into logs of their own.
    own = house / "results/embedded/logs/dpo/bundled/dpo/seed0.log"
    log = own if engine == "snakemake" else said
    for _ in range(1200):
        if log.exists() and "half-way" in log.read_text():
            break
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.5)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (house / "results/embedded/model/bundled/dpo/seed0").exists()
    if engine == "snakemake":
        assert list((house / ".snakemake" / "locks").glob("*.lock"))
    done = toy.call(house, *command[engine])
    assert done.returncode == 0, done.stdout + done.stderr
    results = {
        p.relative_to(folder): p.read_bytes()
        for folder in (house, undisturbed)
        for p in (folder / "results").rglob("manifest.json")
    }
    for path, content in results.items():
        assert (house / path).read_bytes() == content, path
    assert len(results) == RESULTS


@pytest.mark.slow
def test_two_studies_at_once_in_one_folder_keep_out_of_each_others_way(house, undisturbed):
    toy.few(house)
    running = {
        study: subprocess.Popen(
            toy.line(("snakemake", "--cores", "1", "--quiet")),
            cwd=house,
            env=toy.surroundings({"SIGHTLINE_STUDY": study}),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for study in ("embedded", "smoke")
    }
    for study, process in running.items():
        _, said = process.communicate()
        assert process.returncode == 0, f"{study}: {said}"
        done = toy.call(house, "steps", "verify", study)
        assert done.returncode == 0, done.stderr
    for path in (undisturbed / "results").rglob("manifest.json"):
        assert (house / path.relative_to(undisturbed)).read_bytes() == path.read_bytes()
