"""A finished study's metrics and verdicts once more, by the code as it is now, without a model.

Answers that were kept are judged again, tables summed up again, and stages that read features or
dictionaries run again, each by its own code and with the params that it was made with. What only a
model gives stands as it is recorded. results/<study>/rescored is then the report on these figures,
with rescore.json: metric by metric, what is recorded and what comes out now.

Nothing recorded is changed. A result that cannot be recomputed is named, and counts as recorded.
"""

import importlib
import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any, NamedTuple

from steps import codedeps, manifest, stage
from steps import params as parameters
from steps.place import Place, publish
from steps.schema import Params
from steps.stage import STAGES, StageError
from steps.study import gaps
from steps.study.examined import instances
from steps.study.plan import Plan
from steps.study.rules import Rule, rules

ANSWERS: dict[str, tuple[str, ...]] = {
    "vqa": ("items",),
    "sharpen": ("items",),
    "swap": ("items",),
    "forget": ("probes", "classify"),
    "reuse": ("items",),
    "newcomers": ("items",),
    "tokens": (),
    "gaze": (),
    "turned": (),
    "controls": (),
}
"""Stages with a function `rescored`, which reads a result's tables again; its inputs in that."""
AGAIN = ("logged", "classify", "segment", "compare", "stability")
"""Stages that are run again: what they read are logged answers, features and dictionaries."""
MODEL = {
    "swap": r"swap/decay/",
    "newcomers": r".*/parameters$",
    "tokens": r"tokens/(text|untrained)/",
    "gaze": r"gaze/(heads|untrained)/",
    "turned": r"turned/[^/]+/moved",
    "controls": r"controls/[^/]+/[^/]+/moved",
}
"""Which of their metrics only a model gives."""
RECORDED = {
    **dict.fromkeys(("items", "probes"), "draws scenes and questions, and scores nothing"),
    **dict.fromkeys(("dictionary", "planted"), "fits dictionaries"),
    **dict.fromkeys(
        ("base", "hub", "tower", "language", "align", "instruct", "trained", "joined", "pairs")
        + ("none", "sft", "dpo", "grpo", "checkpoint", "tuned", "extract", "cost"),
        "makes a model, or samples or counts by one",
    ),
    **dict.fromkeys(
        ("features", "harvest", "baselines", "drift", "localise")
        + ("quality", "spatial", "heads", "intervene", "atlas"),
        "has a model read",
    ),
}
"""Stages that stand as recorded, and why."""


def rescore(plan: Plan, found: list[Rule] | None = None) -> str:
    """Write results/<study>/rescored, whole or not at all; returns what to print of it.

    found: the plan's rules, where they have been read. Raises StageError without a report, and
    where not one result can be recomputed.
    """
    threads, root = stage.cpu_threads(), Path(plan.results)
    try:
        before = json.loads((root / "report" / "summary.json").read_text())
    except (OSError, ValueError):
        raise StageError(f"{root}/report is not there: run the study first (make study)") from None
    place = Place(root / "rescored", plan.params.study.name)
    temporary = place.temporary()
    try:
        found = found or rules(plan)
        told = recomputed(plan, found, temporary / "study", threads)
        if not told.results:
            why = next(iter(told.left.items()), ("it", "has no answers or features"))
            raise StageError(f"{root} holds nothing to rescore: {': '.join(why)}")
        page = temporary / "page"
        page.mkdir()
        after = _report(plan, found, temporary / "study", page, before)
        whole = gaps.whole(told, before, after)
        stages = {rule.name for rule in found} & set(RECORDED)
        whole["recorded"] = {name: RECORDED[name] for name in sorted(stages)}
        text = json.dumps(whole, indent=1, sort_keys=True, ensure_ascii=False)
        (page / "rescore.json").write_text(text + "\n")
        publish(page, place.out)
    finally:
        place.tidy()
    return gaps.said(whole, place.out)


def recomputed(plan: Plan, found: list[Rule], folder: Path, threads: int) -> gaps.Told:
    """Fill `folder` with the study as it would be now: recomputed results, and links to others."""
    told, root = gaps.Told({}, {}, []), Path(plan.results)
    known = _Known(plan.params.study.name, parameters.read_yaml(plan.path), threads, {})
    counts = dict.fromkeys((*ANSWERS, *AGAIN), 0)
    for rule, levels, out in instances(found):
        name = str(out.relative_to(root))
        new = folder / name
        if rule.name in counts:
            if not counts[rule.name]:
                print(f"rescore: {rule.name}", file=sys.stderr)
            counts[rule.name] += 1
            try:
                told.results[name] = _one(known, rule, levels, out, new)
            except gaps.LOST as error:
                shutil.rmtree(new, ignore_errors=True)
                told.left[name] = gaps.why(error)
            else:
                try:
                    manifest.check(out)
                except manifest.Damaged as error:
                    told.changed.append(str(error))
        _link(out, new)
    return told


class _Known(NamedTuple):
    """What results have in common: the present params, and hashes of inputs looked at so far."""

    study: str
    values: dict[str, Any]
    threads: int
    hashes: dict[Path, str]


def _one(known: _Known, rule: Rule, levels: dict[str, str], out: Path, new: Path) -> dict[str, Any]:
    """Recompute one result into the folder `new`; see `gaps.Told`."""
    recorded = json.loads((out / "metrics.json").read_text())
    facts = manifest.read(out)
    inputs = {name: Path(path.format(**levels)) for name, path in rule.inputs.items()}
    for name in ANSWERS.get(rule.name, inputs):
        path = inputs[name]
        if path not in known.hashes:
            known.hashes[path] = manifest.check(path) if path.is_dir() else manifest.plain(path)
        if facts["inputs"].get(name) != known.hashes[path]:
            raise StageError(f"its input {path} is not the one that it was made from")
    if rule.name == "compare":
        stored = json.loads((inputs["harvest"] / "activations.json").read_text())["stored"]
        if not stored:
            raise StageError("its activations were not stored (diff.store), and a model gives them")
    seed = int(levels["seed"]) if "seed" in levels else None
    who = {"base": levels.get("base"), "arm": levels.get("arm"), "seed": seed}
    run = parameters.Run(known.study, rule.name, **who, threads=known.threads)
    keys = [key.format(**levels) for key in rule.reads]
    view = parameters.view(made_with(known.values, facts["params"]), keys, run)
    module = importlib.import_module(STAGES[rule.name])
    stage.seeded(seed or 0, known.threads)
    new.mkdir(parents=True)
    if rule.name in AGAIN:
        now = module.run(view, inputs, new)
    else:
        now = module.rescored(view, inputs, out, new)
    now = stage.numbers(rule.name, now)
    kept = {k: v for k, v in recorded.items() if re.match(MODEL.get(rule.name, r"(?!)"), k)}
    (new / "metrics.json").write_text(json.dumps(kept | now, indent=1, sort_keys=True))
    answers = gaps.answers(out / "items.parquet", new / "items.parquet")
    same = facts["code"] == codedeps.digest(STAGES[rule.name])
    return gaps.metrics(recorded, now, kept) | {"answers": answers, "same_code": same}


def made_with(values: dict[str, Any], recorded: dict[str, Any]) -> Params:
    """A params file's values, with those that a result was made with in their place.

    recorded: by dotted key, as in a manifest. Raises ParamsError for what is not allowed any more.
    """

    def over(old: Any, new: Any) -> Any:
        if not (isinstance(old, dict) and isinstance(new, dict)):
            return new
        return old | {key: over(old.get(key), value) for key, value in new.items()}

    for key, value in recorded.items():
        for part in reversed(key.split(".")):
            value = {part: value}
        values = over(values, value)
    return parameters.check(values, "the params that it was made with")


def _link(out: Path, new: Path) -> None:
    """Let `new` have all of the result `out` that it has not made itself."""
    if new.is_dir():
        for path in out.iterdir():
            if not (new / path.name).exists():
                (new / path.name).symlink_to(path.resolve())
    elif out.is_dir():
        new.parent.mkdir(parents=True, exist_ok=True)
        new.symlink_to(out.resolve())


def _report(
    plan: Plan, found: list[Rule], study: Path, out: Path, before: dict[str, Any]
) -> dict[str, Any]:
    """The report's own page on the folder `study`; its summary. before: the recorded one's."""
    from steps.study import report

    [rule] = [rule for rule in found if rule.name == "report"]
    inputs = {name: Path(path) for name, path in rule.inputs.items()}
    for name, path in inputs.items():
        if path.is_dir() and path.is_relative_to(plan.results):
            inputs[name] = study / path.relative_to(plan.results)
    inputs.pop("photos", None)  # it says what is there now, and not what was shown
    if photos := before.get("provenance", {}).get("photographs"):
        inputs["photos"] = study / "photos.json"
        inputs["photos"].write_text(json.dumps(photos))
    title = {"title": f"{plan.params.study.title} (rescored)"}
    params = plan.params.model_copy(update={"study": plan.params.study.model_copy(update=title)})
    run = parameters.Run(plan.params.study.name, "report")
    report.run(parameters.view(params, rule.reads, run), inputs, out)
    return json.loads((out / "summary.json").read_text())
