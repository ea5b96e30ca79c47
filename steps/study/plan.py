"""A study's plan: its effective params and what the workflow's rules need to know of them.

The default study is params.yaml itself. Another is an overlay `workflow/studies/<name>.yaml`
merged over it; the result, `workflow/studies/<name>/params.yaml`, is what both engines read. See
`steps.study.overlay`.
"""

import json
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from steps import codedeps, evals, outside
from steps import params as parameters
from steps.data import album
from steps.data.own import ready
from steps.params import ROOT, STUDIES, ParamsError, check, read_yaml
from steps.place import private
from steps.schema import Params, seeds_of
from steps.stage import STAGES, StageError
from steps.study.claims import registry
from steps.study.overlay import effective
from steps.study.premises import missing

LEVELS = ("base", "arm", "seed")
HEADER = "# Written by `python -m steps study {name}` from params.yaml and ../{name}.yaml\n"


@dataclass(frozen=True)
class Plan:
    """A checked study: `params`, the effective file `path` that stages read, `results`' folder.

    ahead: made before data and models are there, to be counted and not to be run.
    """

    params: Params
    path: Path
    results: str
    ahead: bool = False

    def arms(self, method: str) -> list[str]:
        """The arms of one method, in the order of params.yaml."""
        return [name for name, arm in self.params.arms.items() if arm.method == method]

    def trained(self) -> list[str]:
        """The arms that are not the untouched base."""
        return [name for name, arm in self.params.arms.items() if arm.method != "none"]

    def bases(self, source: str) -> list[str]:
        """The bases of one source, in the order of params.yaml."""
        return [name for name, base in self.params.bases.items() if base.source == source]

    def runs(
        self,
        seeds: Iterable[int] | None = None,
        bases: Iterable[str] | None = None,
        arms: Iterable[str] | None = None,
    ) -> dict[str, list[Any]]:
        """Every base, arm and seed that runs, in three lists of one length.

        Of some seeds, bases or arms alone, where they are given.
        """
        some = self.params.seeds if seeds is None else seeds
        rows = [
            (base, arm, seed)
            for base in (self.params.bases if bases is None else bases)
            for arm in (self.params.arms if arms is None else arms)
            for seed in seeds_of(self.params, arm)
            if seed in some
        ]
        columns = list(zip(*rows, strict=True)) or [()] * len(LEVELS)
        return {level: list(v) for level, v in zip(LEVELS, columns, strict=True)}

    @property
    def photographs(self) -> str:
        """The file that says which images from outside the probes show; see `steps.data.album`."""
        return f"{self.results}/photos.json"

    @property
    def scenery(self) -> dict[str, str]:
        """The input of stages that draw scenes, where these show photographs: which ones."""
        if self.params.world.sprites != "photos":
            return {}
        return {"photos": f"{self.results}/stamps.json"}

    @property
    def brought(self) -> dict[str, str]:
        """The input of `items` where questions are files': which data; see `steps.data.own`."""
        return {"data": f"{self.results}/data.json"} if self.params.data.source == "files" else {}

    @property
    def evaluated(self) -> dict[str, str]:
        """The folder that says which logged answers each model has, where there are benchmarks."""
        return {"evals": f"{self.results}/evals"} if self.params.benchmarks else {}

    @property
    def sources(self) -> str:
        """The folder that says of each stage which code it is; see `steps.codedeps`."""
        return f"{self.results}/code"

    def code(self, stage: str) -> str:
        """A rule's input `code`: the file that says which code a stage is."""
        return f"{self.sources}/{stage}.txt"

    def diffed(self, instrument: str = "compare") -> list[str]:
        """The bases with a model from before visual tuning, where an instrument is wanted."""
        wanted = instrument in self.params.instruments
        return [n for n, base in self.params.bases.items() if base.diffed and wanted]

    def probed(self) -> bool:
        """Whether an encoder is probed, beside which a random tower and pixels are to stand."""
        return bool({"classify", "segment"} & set(self.params.instruments))

    def reads(self, *keys: str) -> dict[str, str | Callable[..., str]]:
        """A rule's `params:` for the keys that its stage reads; they may hold `{base}`, `{arm}`.

        `reads` goes on the command line; `settings` is what Snakemake compares with the last run's.
        """

        def settings(wildcards: Any) -> str:
            own = [key.format(**dict(wildcards.items())) for key in keys]
            return json.dumps(parameters.values(self.params, own), sort_keys=True)

        return {"reads": ",".join(keys), "settings": settings}


def plan(study: str | None = None, ahead: bool = False) -> Plan:
    """The plan of a study (default: $SIGHTLINE_STUDY, else params.yaml's own); writes its params.

    ahead: nothing outside params.yaml is looked for, so that a study can be counted before its data
    and models are fetched.

    Raises ParamsError with one sentence where params.yaml or the overlay is wrong, or names what is
    not there.
    """
    study = study or os.environ.get("SIGHTLINE_STUDY") or None
    base = read_yaml(ROOT)
    checked = check(base, ROOT)
    own = STUDIES / f"{checked.study.name}.yaml"
    if own.is_file() and read_yaml(own):
        raise ParamsError(
            f"{own} would never be read: {checked.study.name} is the study of {ROOT} itself "
            f"(study.name). Write what differs there, or give the overlay a name of its own"
        )
    if study in (None, checked.study.name):
        return _settled(Plan(checked, ROOT, f"results/{checked.study.name}", ahead), ROOT)
    values = effective(base, study)
    checked = check(values, f"{STUDIES / study}.yaml over {ROOT}")
    path = STUDIES / study / ROOT.name
    write(path, HEADER.format(name=study) + yaml.safe_dump(values, sort_keys=False, width=99))
    found = Plan(checked, path, f"results/{study}", ahead)
    return _settled(found, f"{STUDIES / study}.yaml over {ROOT}")


def _settled(plan: Plan, where: Path | str) -> Plan:
    """The plan, once what it needs is there; notes which code and data its stages depend on."""
    if plan.ahead:
        return plan
    registry.read()  # what is wrong there is said before anything runs
    for said in missing(plan.params):
        raise ParamsError(f"{where}: {said}")
    probes = plan.params.probes
    try:
        told = album.album(probes.photos)
    except StageError as error:
        raise ParamsError(f"{where}: probes.photos = {probes.photos!r}: {error}") from None
    for path in plan.scenery.values():  # scenes of photographs show `auto`, and probes do too
        write(Path(path), album.text(told))
    try:
        told["images"] = album.folders(probes.images)
    except StageError as error:
        raise ParamsError(f"{where}: probes.images: {error}") from None
    write(Path(plan.photographs), album.text(told))
    for stage, module in STAGES.items():
        write(Path(plan.code(stage)), codedeps.listing(module))
    try:
        for path in plan.brought.values():
            write(Path(path), ready.text(plan.params.data))
        _weigh(plan)
        _note(plan)
    except StageError as error:
        raise ParamsError(f"{where}: {error}") from None
    return plan


def _weigh(plan: Plan) -> None:
    """Write down which weights from elsewhere the arms are, and what is in them."""
    for arm in plan.arms("checkpoint"):
        told: Any = plan.params.arm_section(arm)
        for seed in seeds_of(plan.params, arm):
            path = Path(plan.results) / "weights" / arm / f"seed{seed}.json"
            known = path.with_name(f".{path.stem}.files.json")
            found = outside.told(outside.place(told.path, seed), told.revision, known)
            write(path, outside.text(found))


def _note(plan: Plan) -> None:
    """Write down which logged answers to benchmarks each model has, and no more than these."""
    for folder in map(Path, plan.evaluated.values()):
        told = evals.told(plan.params, folder.with_name(".evals.json"))
        noted = {folder / b / a / f"seed{s}.json": some for (b, a, s), some in told.items()}
        for path, some in noted.items():
            write(path, outside.text(some))
        for old in set(folder.rglob("seed*.json")) - set(noted):
            old.unlink(missing_ok=True)


def one_of(names: Iterable[str | int]) -> str:
    """A regular expression for exactly these names; without any, one that matches nothing."""
    return "|".join(str(name) for name in names) or "(?!)"


def write(path: Path, text: str) -> bool:
    """Write a file whole, if it differs; whether it did."""
    if path.is_file() and path.read_text() == text:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    half = private(path)
    half.write_text(text)
    half.replace(path)
    return True
