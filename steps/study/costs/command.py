"""The verb `plan`: print what a study will cost, keep it as JSON, refuse what cannot fit."""

import argparse
import json
import sys
from pathlib import Path

from steps.gpus import visible
from steps.stage import StageError
from steps.study.costs import calibrate, forecast, machine, shown
from steps.study.plan import plan

FILE = "plan.json"


def run(options: argparse.Namespace) -> None:
    """Do what the command line says.

    Raises StageError, after the table is printed, with one sentence for what cannot fit.
    """
    found = plan(options.study, ahead=True)
    if options.calibrate:
        if visible():
            raise StageError(
                "--calibrate: hide the GPU (CUDA_VISIBLE_DEVICES=): its jobs took no core's time"
            )
        names = {options.study, "smoke"} if options.study else {None, "smoke"}
        speed, told = forecast.calibrated(plan(name) for name in sorted(names, key=str))
        path = calibrate.save(speed, forecast.RESULTS)
        print(shown.fitted(calibrate.compared(told)), end="")
        print(f"{path}: {speed.source}", file=sys.stderr)
    mfu = machine.MFU if options.mfu is None else options.mfu
    if not 0 < mfu <= 1:
        raise StageError(f"--mfu {options.mfu:g}: give a share above 0 and at most 1")
    if options.devices is not None and options.devices < 1:
        raise StageError(f"--devices {options.devices}: give at least 1")
    on = forecast.device(options.gpu, options.devices, mfu)
    told = forecast.forecast(found, on, _tokens(options.tokens))
    place = Path(found.results) / FILE
    place.parent.mkdir(parents=True, exist_ok=True)
    plain = json.dumps(shown.plain(told), indent=1)
    place.write_text(plain + "\n")
    print(plain if options.json else shown.text(told), end="\n" if options.json else "")
    if told.refused:
        more = f" ({len(told.refused) - 1} more in {place})" if len(told.refused) > 1 else ""
        raise StageError(told.refused[0] + more)


def _tokens(given: str | None) -> tuple[float, float] | None:
    if given is None:
        return None
    try:
        asked, said = map(float, given.split(","))
    except ValueError:
        raise StageError(f"--tokens {given}: give two numbers, as in 60,40") from None
    return asked, said
