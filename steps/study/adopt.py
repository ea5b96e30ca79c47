"""Both engines take the results of a study that are in order as their own.

Each engine trusts its own record alone. After one has run, `adopt` looks at every result itself
and tells the other (and the first, which may have seen files replaced) about those in order.
"""

import logging
import subprocess
import sys
from pathlib import Path

from steps.stage import StageError
from steps.study import dvc
from steps.study.examined import examine, instances
from steps.study.locks import refuse_dvc
from steps.study.plan import Plan
from steps.study.rules import rules


def adopt(plan: Plan) -> None:
    """Tell DVC and Snakemake about the results that are in order. Raises StageError.

    Raised where dvc.yaml is not in step with the rules, where nothing is in order, and where an
    engine refuses, or its locks would not hold; what is missing or out of date is named and left
    for the next run.
    """
    refuse_dvc()
    found = rules(plan)
    if dvc.drift(plan, found, fix=False):
        raise StageError(f"{dvc.path(plan)} is not in step with workflow/rules: run make dvc-fix")
    said = examine(plan, found)
    for out, why in said.items():
        if why:
            print(f"not adopted: {out}: {why.why}", file=sys.stderr)
    good = [(rule, levels, out) for rule, levels, out in instances(found) if not said[out]]
    if not good:
        raise StageError(f"no result in {plan.results} is in order: run the study first")
    names = ["-".join(levels.values()) for _, levels, _ in good]
    stages = {f"{r.key}@{n}" if n else r.key for (r, _, _), n in zip(good, names, strict=True)}
    _commit(dvc.path(plan), {dvc.CHECK, *stages})
    outs = [str(out) for _, _, out in good]
    study = plan.params.study.name
    # Targets come first: `--quiet` and `--config` take all words that follow them.
    config = ("--config", f"study={study}")
    new = _unrecorded(_call("snakemake", *outs, "--summary", *config))
    force = ("--forcerun", *new) if new else ()
    _call("snakemake", *outs, "--touch", "--cores", "1", *config, "--quiet", *force)
    print(f"adopted by both engines: {len(good)} of {len(said)} results", file=sys.stderr)


def _commit(file: Path, names: set[str]) -> None:
    """`dvc commit --force --no-relink` for many stages of one dvc.yaml, whose lock is written once.

    Without relinking files keep their times, which Snakemake looks at.
    """
    from dvc.repo import Repo

    logging.getLogger("dvc").setLevel(logging.WARNING)
    with Repo() as repo, repo.lock, repo.scm_context():
        stages = [stage for stage in repo.stage.load_all(str(file)) if stage.name in names]
        if len(stages) < len(names):
            missing = names - {stage.name for stage in stages}
            raise StageError(f"{file} has no {min(missing)}: run make dvc-fix")
        for stage in stages:
            stage.save()
            stage.commit(relink=False)
        stages[0].dvcfile.dump_stages(stages, update_pipeline=False)


def _unrecorded(summary: str) -> list[str]:
    """The results of which Snakemake has no record, by its `--summary`: there no log is named.

    It touches only what it would run, and that is decided by times alone where it has no record,
    as in a clone whose results came by `dvc pull`. Untouched, these would stay without one, and
    other params or code would never be seen.
    """
    header, *lines = [line.split("\t") for line in summary.splitlines() if "\t" in line]
    name, logs = header.index("output_file"), header.index("log-file(s)")
    return [line[name] for line in lines if line[logs] == "-"]


def _call(*command: str) -> str:
    """Run an engine of this environment and return what it prints; its words show if it fails."""
    path = Path(sys.executable).parent / command[0]
    done = subprocess.run([str(path), *command[1:]], capture_output=True, text=True)
    if done.returncode:
        print(done.stdout + done.stderr, file=sys.stderr)
        raise StageError(f"{' '.join(command[:3])} ... failed with status {done.returncode}")
    return done.stdout
