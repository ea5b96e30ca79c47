"""Two checkpoints side by side, without a study: `make look BASE=folder ARM=folder`.

The stages' own functions run on a base and on an arm of it, on the embedded world's images (and on
one's own, with DATA=folder), with the settings of params.yaml and fewer of everything: one seed, so
that intervals are over items and say nothing of other seeds. Left is a folder with summary.json and
one page. For figures to rest on, run a study with an arm `method: checkpoint`.
"""

import importlib
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from steps import params as parameters
from steps.schema.data import Images
from steps.stage import STAGES, Missing, StageError, seeded
from steps.study import look_page, look_rows

ROOT = Path(__file__).parents[2]
LESS = {
    "items": {"train": 160, "stage1": 8, "tune": 8, "vqa": 240, "far": 0},
    "probes": {
        "classify_train": 600,
        "classify_test": 400,
        "segment_train": 120,
        "segment_test": 80,
        "photos": "off",
    },
    "pairs": {"draws": 4},
    "vqa": {"blind": 0},
    "drift": {"images": 128, "bootstrap": 200},
    "localise": {"items": 40},
}
"""What there is less of than in params.yaml, so that a look takes minutes."""
OWN = {"name": "own", "train": 200, "test": 100}
"""One's own images: the set's name, and the most of each class (with masks, of each split)."""
READS = {
    "items": ["world", "items", "data"],
    "probes": ["world", "probes", "data.source"],
    "pairs": ["pairs"],
    "vqa": ["vqa"],
    **{name: [name] for name in ("extract", "features", "classify", "segment", "localise")},
    "drift": ["drift"],
}
"""The sections of params that stages read here, as their rules declare them."""


class Looker:
    """Runs stages in a folder of its own and keeps what each of them says, by stage and model."""

    def __init__(self, params: Any, work: Path) -> None:
        self.params, self.work = params, work
        self.metrics: dict[tuple[str, str], dict[str, float]] = {}
        self.notes: list[str] = []

    def stage(self, name: str, whose: str, **inputs: Path) -> Path:
        """Run a stage; returns its folder."""
        start, out = time.monotonic(), self.work / name / whose
        out.mkdir(parents=True)
        threads = int(os.environ.get("OMP_NUM_THREADS", "0")) or os.cpu_count() or 1
        run = parameters.Run(study="look", stage=name, seed=0, threads=threads)
        module = importlib.import_module(STAGES[name])
        seeded(0, threads)
        view = parameters.view(self.params, READS[name], run)
        self.metrics[name, whose] = module.run(view, inputs, out)
        print(f"look: {name}, {whose}: {time.monotonic() - start:.1f} s", file=sys.stderr)
        return out

    def attempt(self, what: str, measure: Callable[[], Any]) -> None:
        """Measure, or note in one sentence why that does not fit these models."""
        try:
            measure()
        except StageError as error:
            self.notes.append(f"{what}: {error}")


def look(base: Path, arm: Path, data: Path | None, out: Path) -> Path:
    """Compare the models in two folders; returns the page.

    base: a LLaVA's folder in the hub's layout. arm: one of the same base, or a LoRA adapter. data:
    a folder of images: one folder a class, or `images` and `masks`; beside them items.jsonl
    (image, prompt, answer). Raises StageError or Missing with one sentence for what does not fit.
    """
    for key, folder in (("BASE", base), ("ARM", arm), ("DATA", data)):
        if folder is not None and not folder.is_dir():
            raise Missing(f"{key} = {str(folder)!r}: there is no such folder")
    if out.exists() and any(out.iterdir()) and not (out / "summary.json").is_file():
        raise StageError(f"OUT = {str(out)!r} holds other files: give a new folder")
    from steps import outside
    from steps.models import hub
    from steps.posttrain import checkpoint

    own = look_rows.questions(data) if data and (data / "items.jsonl").is_file() else None
    with tempfile.TemporaryDirectory(prefix="look-") as name:
        work = Path(name)
        home = work / "models" / "base"
        home.mkdir(parents=True)
        checkpoint.readable(base)
        hub.take(str(base), None, home / "instruct")
        models = {"base": home / "instruct", "arm": work / "models" / "arm"}
        models["arm"].mkdir()
        checkpoint.put(str(arm), None, home, models["arm"])
        looker = Looker(_settings(models["base"], data), work)
        summary = {
            "models": {
                key: {"path": str(path), "sha256": outside.told(str(path), None)["sha256"]}
                for key, path in (("base", base), ("arm", arm))
            },
            "config": look_rows.configs(base, arm),
        }
        _measure(looker, models, home, own)
        summary["rows"] = look_rows.rows(looker.metrics, work)
        summary["notes"] = looker.notes
        pictures = look_page.pictures(work)
        out.mkdir(parents=True, exist_ok=True)
        (out / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")
        page = out / "index.html"
        page.write_text(look_page.render(summary, pictures))
        shutil.rmtree(work, ignore_errors=True)
    return page


def _settings(base: Path, data: Path | None) -> Any:
    """params.yaml with less of everything, and one's own images among the probes'."""
    params = parameters.load(ROOT / "params.yaml")
    less = {name: dict(keys) for name, keys in LESS.items()}
    if data is not None and (layout := look_rows.layout(data)):
        size = json.loads((base / "config.json").read_text())["vision_config"]["image_size"]
        less["probes"]["images"] = [Images(**OWN, layout=layout, path=str(data), size=size)]
    update = {name: getattr(params, name).model_copy(update=keys) for name, keys in less.items()}
    config = json.loads((base / "config.json").read_text())
    layer = config.get("vision_feature_layer", params.extract.layer)
    update["extract"] = params.extract.model_copy(update={"layer": layer})
    return params.model_copy(update=update)


def _measure(looker: Looker, models: dict[str, Path], home: Path, own: Any) -> None:
    """Every instrument that fits, on base and arm."""
    probes = looker.stage("probes", "both")
    for whose, model in models.items():
        extract = looker.stage("extract", whose, model=model)
        features = looker.stage("features", whose, extract=extract, probes=probes)
        for name in ("classify", "segment"):
            looker.attempt(
                name,
                lambda name=name, whose=whose, features=features: looker.stage(
                    name, whose, features=features, probes=probes
                ),
            )
    looker.attempt(
        "drift",
        lambda: looker.stage(
            "drift", "arm", model=models["arm"], reference=models["base"], base=home, probes=probes
        ),
    )
    if own is not None:
        for whose, model in models.items():
            print(f"look: own questions, {whose}", file=sys.stderr)
            look_rows.ask(own, model, looker.params.vqa, looker.work / "own" / whose)
    if lacking := look_rows.strange(models["base"]):
        looker.notes.append(
            f"questions and localisation of the embedded world: the model has no token {lacking!r}"
        )
        return
    items = looker.stage("items", "both")
    for whose, model in models.items():
        looker.attempt(
            "vqa",
            lambda whose=whose, model=model: looker.stage("vqa", whose, items=items, model=model),
        )
    looker.attempt("localise", lambda: _localise(looker, models, home, items))


def _localise(looker: Looker, models: dict[str, Path], home: Path, items: Path) -> None:
    pairs = looker.stage("pairs", "both", base=home, items=items)
    for whose, model in models.items():
        looker.stage("localise", whose, model=model, items=items, pairs=pairs)
