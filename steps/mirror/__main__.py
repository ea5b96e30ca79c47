"""Command line of the mirror: a study's events to MLflow, once (--all) or for a while (--root)."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from steps import spool
from steps.mirror import notes
from steps.mirror.sync import sync
from steps.mirror.words import masked, said

POLL, LINGER, LIFE = 3.0, 30.0, 600.0  # seconds; see `background`


def background(root: Path) -> None:
    """Mirror one study until LINGER seconds have brought nothing; one such process a study.

    Lingering spares the next stage's mirror the seconds of importing MLflow, and bridges a
    server's restart. Whoever was turned away by the lock may have brought the last event: the
    holder looks again after letting go. Raises Refused where waiting would not help.
    """
    with suppress(OSError):  # else a new session would weigh as much as the stages, nice or not
        Path("/proc/self/autogroup").write_text("5")
    notes.store_lock(root)
    end, trouble = time.monotonic() + LIFE, ""
    while notes.stale(root) and not trouble and time.monotonic() < end:
        with notes.locked(root / spool.EVENTS / "background.lock", wait=False) as mine:
            if not mine:
                return
            heard = time.monotonic()
            while root.exists() and time.monotonic() < min(heard + LINGER, end):
                if notes.stale(root):
                    before, trouble = trouble, _try(root)
                    if trouble and trouble != before:
                        print(time.strftime("%F %T"), trouble, file=sys.stderr, flush=True)
                    heard = heard if trouble else time.monotonic()
                time.sleep(POLL)


def _try(root: Path) -> str:
    try:
        sync(root)
    except Exception as error:  # nobody waits for the mirror: the reason goes to mirror.log
        return said(error)
    return ""


def catch_up(results: Path) -> int:
    """`make sync`: every study below `results`; the exit status."""
    studies = sorted(path.parent for path in results.glob(f"*/{spool.EVENTS}"))
    for root in studies:
        try:
            sent = sync(root, check=True)
        except Exception as error:  # told in one sentence
            print(f"{root.name}: not mirrored: {said(error)}", file=sys.stderr)
            return 1
        print(f"{root.name}: {sent} new events, mirrored to {masked(notes.uri(root))}")
    if not studies:
        print(f"{results}: no study has run yet")
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse and run; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m steps.mirror", description=__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--root", type=Path, help="results/<study>: mirror it in the background")
    what.add_argument("--all", action="store_true", help="catch up with every study, then end")
    what.add_argument("--ui", action="store_true", help="catch up, then browse the runs")
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--port", type=int, default=5000, help="first port to try for --ui")
    options = parser.parse_args(arguments)
    if options.root:
        try:
            background(options.root.absolute())
        except FileNotFoundError:
            pass  # the study was deleted meanwhile
        except notes.Refused as refusal:
            print(time.strftime("%F %T"), refusal, file=sys.stderr)
        return 0
    status = catch_up(options.results.absolute())
    if options.ui:
        from steps.mirror import ui

        try:
            return ui.serve(options.results.absolute(), options.port)
        except Exception as error:  # told in one sentence
            print(f"the runs cannot be shown: {said(error)}", file=sys.stderr)
            return 1
    return status


if __name__ == "__main__":
    sys.exit(main())
