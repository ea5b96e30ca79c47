"""Locks without an owner go; those of a living run stay."""

import subprocess
import sys

from steps.study.locks import settle

HOLD = (
    "import sys, time; from pathlib import Path; from steps.study.locks import settle\n"
    "alive = settle(Path(sys.argv[1])); print('held', flush=True); time.sleep(60)"
)


def test_stale_locks_go_and_those_of_a_living_run_stay(tmp_path):
    folder = tmp_path / ".snakemake"
    (folder / "locks").mkdir(parents=True)
    lock = folder / "locks" / "0.output.lock"
    other = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True
    )
    assert other.stdout and other.stdout.readline() == "held\n"
    lock.write_text("results/a")
    mine = settle(folder)
    assert lock.exists()  # the other one lives
    mine.close()
    other.kill()
    other.wait()
    with settle(folder), settle(folder):  # two studies at once: the second clears nothing anew
        assert not lock.exists()
        lock.write_text("results/b")
        settle(folder).close()
        assert lock.exists()
