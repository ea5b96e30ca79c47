"""The contract that every stage keeps, in one place.

A stage is a function `run(params, inputs, out) -> metrics`. Around it, here: the sections that
its rule declares, the check of what it reads, threads and seeds, the event log, and an output
folder that is complete or absent. The folder is filled under a private name and renamed at the
end; what differs from run to run (times, memory, host) stands beside it in `<out>.record.json`.
"""

import importlib
import json
import os
import random
import signal
import sys
from pathlib import Path
from typing import Any

from steps import codedeps, halt, manifest, meter, track
from steps import params as parameters
from steps.place import Place, full, publish
from steps.record import Watch, versions
from steps.schema import Params, seeds_of

STAGES = {
    "base": "steps.models.base",
    "hub": "steps.models.base",
    "tower": "steps.models.tower",
    "language": "steps.models.language",
    "align": "steps.models.align",
    "instruct": "steps.models.instruct",
    "trained": "steps.models.base",
    "joined": "steps.posttrain.joined",
    "items": "steps.data.items",
    "probes": "steps.data.probes",
    "pairs": "steps.posttrain.pairs",
    "none": "steps.posttrain.none",
    "sft": "steps.posttrain.sft",
    "dpo": "steps.posttrain.dpo",
    "grpo": "steps.posttrain.grpo",
    "checkpoint": "steps.posttrain.checkpoint",
    "extract": "steps.encoder.extract",
    "features": "steps.encoder.features",
    "classify": "steps.encoder.classify",
    "segment": "steps.encoder.segment",
    "baselines": "steps.encoder.baselines",
    "drift": "steps.encoder.drift",
    "localise": "steps.encoder.localise",
    "reuse": "steps.encoder.reuse",
    "newcomers": "steps.encoder.newcomers",
    "cost": "steps.encoder.cost",
    "vqa": "steps.behaviour.vqa",
    "sharpen": "steps.behaviour.sharpen",
    "tokens": "steps.behaviour.tokens",
    "gaze": "steps.behaviour.gaze",
    "swap": "steps.behaviour.swap",
    "forget": "steps.behaviour.forget",
    "logged": "steps.behaviour.logged",
    "harvest": "steps.diff.harvest",
    "dictionary": "steps.diff.dictionary",
    "compare": "steps.diff.compare",
    "planted": "steps.diff.planted",
    "quality": "steps.diff.quality",
    "stability": "steps.diff.stability",
    "tuned": "steps.models.tuned",
    "controls": "steps.diff.controls",
    "turned": "steps.diff.turned",
    "spatial": "steps.diff.spatial",
    "heads": "steps.diff.heads",
    "intervene": "steps.diff.intervene",
    "atlas": "steps.diff.atlas",
    "report": "steps.study.report",
}
"""Every stage and its module."""


class StageError(ValueError):
    """A stage cannot go on, and a user can put it right; the text is one sentence that says how.

    Stages raise it (or Missing) on purpose; any other exception is a bug, and shows its traceback.
    """


class Missing(StageError, FileNotFoundError):
    """The same, for a file or folder that should be there."""


def execute(
    stage: str,
    params_file: Path,
    out: Path,
    keys: list[str],
    inputs: dict[str, Path],
    base: str | None = None,
    arm: str | None = None,
    seed: int | None = None,
) -> dict[str, float]:
    """Run one stage and put its folder in place; returns its metrics.

    Raises ParamsError, Damaged or StageError with one sentence for what a user can put right,
    and whatever the stage raises otherwise. Whatever happens, `out` is complete or absent.
    """
    threads = cpu_threads()
    params = parameters.load(params_file)
    read = parameters.values(params, keys)
    place = Place(out, params.study.name)
    hashes = {name: _checked(name, path, place.root) for name, path in inputs.items()}
    code = codedeps.digest(STAGES[stage])
    who = {"study": params.study.name, "stage": stage, "base": base, "arm": arm, "seed": seed}
    facts = {**who, "params": read, "inputs": hashes, "code": code}
    checkpoints = place.checkpoints(facts)
    run = parameters.Run(**who, threads=threads, checkpoints=checkpoints)
    view = parameters.view(params, keys, run)

    temporary = place.temporary()
    watch = Watch(threads)
    attempt = track.start(
        place.root, **who, params=read, out=temporary, final=out, about=_about(params, arm)
    )
    status, metrics = "failed", {}
    sampler = meter.watch(stage)
    try:
        module = importlib.import_module(STAGES[stage])
        seeded(seed or 0, threads)
        metrics = numbers(stage, module.run(view, inputs, temporary))
        (temporary / "metrics.json").write_text(json.dumps(metrics, indent=1, sort_keys=True))
        manifest.write(temporary, {**facts, "versions": versions()})
        _unmoved(params_file, keys, read, inputs, hashes, place.root)
        publish(temporary, out)
        place.drop_checkpoints()
        status = "finished"
        return metrics
    except (KeyboardInterrupt, SystemExit):
        status = "killed"
        raise
    finally:
        sampler.stop()
        place.tidy()
        record = watch.record({**who, "status": status, "attempt": attempt})
        if status == "finished":
            place.write_record(record)
            print(f"{stage}: done in {record['wall_s']:.1f} s", file=sys.stderr)
        track.finish(status, metrics, record)


def _about(params: Params, arm: str | None) -> dict[str, Any]:
    """What a run's description tells: the study's title; the arm's method, own keys and seeds."""
    told: dict[str, Any] = {"title": params.study.title}
    if arm in params.arms:
        spec = params.arms[arm]
        own = {"method": spec.method, "overrides": spec.overrides}
        told["arm"] = own | {"seeds": seeds_of(params, arm)}
    return told


def cpu_threads() -> int:
    """CPU threads for this process: OMP_NUM_THREADS, which Snakemake sets for its jobs, else 1."""
    said = os.environ.setdefault("OMP_NUM_THREADS", "1")
    if not said.isdecimal() or int(said) < 1:
        raise StageError(f"OMP_NUM_THREADS = {said!r}: give a whole number of at least 1")
    for name in ("MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS"):
        os.environ[name] = said
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    if not sys.stderr.isatty():
        os.environ.setdefault("TQDM_DISABLE", "1")  # plain lines in logs
    return int(said)


def seeded(seed: int, threads: int) -> None:
    """Seed what the stage's module has imported. A stage's own generators come on top."""
    random.seed(seed)
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed(seed)
    if torch := sys.modules.get("torch"):
        torch.manual_seed(seed)
        torch.set_num_threads(threads)


def _checked(name: str, path: Path, root: Path) -> str:
    """An input's hash, checked against its manifest; one from outside the study may have none."""
    if not path.exists():
        raise manifest.Damaged(f"input {name}: {path} does not exist: run the study from its start")
    inside = path.resolve().is_relative_to(root.resolve())
    if path.is_dir() and (inside or (path / manifest.NAME).is_file()):
        return manifest.check(path)
    return manifest.plain(path)


def _unmoved(
    params_file: Path,
    keys: list[str],
    read: dict[str, Any],
    inputs: dict[str, Path],
    hashes: dict[str, str],
    root: Path,
) -> None:
    """Refuse to publish what no longer follows from params and inputs, as an orphan might."""
    if parameters.values(parameters.load(params_file), keys) != read:
        raise StageError(f"{params_file} changed while the stage ran: run the study again")
    for name, path in inputs.items():
        if _checked(name, path, root) != hashes[name]:
            raise StageError(f"{path} changed while the stage ran: run the study again")


def numbers(stage: str, metrics: Any) -> dict[str, float]:
    """Metrics as plain finite numbers, numpy's and torch's made plain."""
    if not isinstance(metrics, dict):
        raise StageError(f"stage {stage} returned {type(metrics).__name__}: it must return a dict")
    plain: dict[str, float] = {}
    for name, value in metrics.items():
        value = value.item() if hasattr(value, "item") else value
        if not isinstance(value, (int, float)) or value != value or abs(value) == float("inf"):
            raise StageError(f"stage {stage}: metric {name} = {value!r} is not a finite number")
        plain[str(name)] = value
    return plain


def guard(work: Any) -> int:
    """Call `work()`; turn what users can put right into one sentence. Returns the exit status.

    SIGTERM ends it at once; SIGUSR1, the notice of a time limit, at its next checkpoint.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    halt.watch()
    try:
        work()
    except halt.Halted:
        return halt.again()
    except (parameters.ParamsError, manifest.Damaged, StageError) as error:
        print(f"sightline: {error}", file=sys.stderr)
        return 2 if isinstance(error, parameters.ParamsError) else 1
    except Exception as error:
        if not full(error):
            raise
        where = f" ({error.filename})" if isinstance(error, OSError) and error.filename else ""
        print(f"sightline: cannot write{where}: {_last(error)}; make room", file=sys.stderr)
        return 1
    return 0


def _last(error: Exception) -> str:
    """What an exception says, on one line."""
    return " ".join(str(getattr(error, "strerror", None) or error).split())
