"""What a study's folders say: metrics of every stage, curves, provenance; and what is missing."""

import hashlib
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from steps import manifest
from steps.schema import seeds_of
from steps.study import benchmarks

BASE_STAGES = ("base", "cost", "stability")
"""Folders with one result for each base."""
ARM_STAGES = ("model", "vqa", "sharpen", "tokens", "gaze", "swap", "forget", "logged")
ARM_STAGES += ("classify", "segment", "drift", "localise", "reuse", "turned")
"""Folders with one result for each base, arm and seed, where the study measures it."""
SEED_STAGES = ("pairs", "baselines", "newcomers")
"""Folders with one result for each base and seed."""
DIFF_STAGES = ("compare", "quality", "controls", "spatial", "heads", "intervene", "atlas")
"""The same, on the seeds of model diffing."""
LOCAL_STAGES = ("reuse", "newcomers", "cost", "stability", "turned", *DIFF_STAGES)
"""Folders without a result for a base from the hub, which keeps no model from before images."""
OWN_SEEDS = {"gaze": "gaze", "turned": "diff"}
"""Stages on some seeds alone, and the section that says which."""
ITEMS = "items.parquet"
"""In the folder of an instrument: its answers, item by item."""
CURVES = "curves.json"
"""In the folder of each model that was trained: what its training logged."""
ELSEWHERE = ("none", "checkpoint")
"""Methods that train nothing here, and so log nothing."""
Where = tuple[str, str | None, str | None, int | None]
"""Stage folder, base, arm, seed; None for a level that the stage does not have."""


@dataclass
class Found:
    """Metrics by place, the folders themselves, and the places where nothing finished stands.

    items: the bytes of items.parquet, of places that were read from an export and have no folder.
    """

    metrics: dict[Where, dict[str, float]] = field(default_factory=dict)
    folders: dict[Where, Path] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    items: dict[Where, bytes] = field(default_factory=dict)

    def series(self, base: str, arm: str, metric: str) -> dict[int, float]:
        """One metric of one arm by seed, from whichever of its stages has it."""
        return {
            seed: values[metric]
            for (stage, b, a, seed), values in self.metrics.items()
            if stage in ARM_STAGES and b == base and a == arm and metric in values
            if seed is not None
        }

    def answers(self, *where: Any) -> Path | io.BytesIO | None:
        """What to read the answers of a place from, in Parquet; None where there are none."""
        if where in self.items:
            return io.BytesIO(self.items[where])
        folder = self.folders.get(where)
        return path if folder and (path := folder / ITEMS).is_file() else None

    def names(self, base: str) -> set[str]:
        """Every metric that some arm of a base has."""
        return {
            name
            for (stage, b, _, _), values in self.metrics.items()
            if stage in ARM_STAGES and b == base
            for name in values
        }


def collect(params: Any, inputs: dict[str, Path]) -> Found:
    """Read every result that the study should have; what is absent is named, not fatal.

    inputs: folders by name (`vqa` is results/<study>/vqa). An input that is not given counts as
    absent as a whole, and so does a folder without a readable metrics.json.
    """
    found = Found()
    for name, where, path in _expected(params, "logged" in inputs):
        root = inputs.get(name)
        folder = root / path if root else None
        try:
            if folder is None:
                raise OSError
            values = json.loads((folder / "metrics.json").read_text())
            numbers = {k: v for k, v in values.items() if isinstance(v, (int, float))}
        except (OSError, ValueError, AttributeError):
            found.missing.append(f"{name}/{path}")
            continue
        found.metrics[where], found.folders[where] = numbers, folder
    found.missing += benchmarks.compared(found.metrics, found.folders, params.seeds[0])
    return found


def _expected(params: Any, logged: bool) -> Iterator[tuple[str, Where, str]]:
    there = [name for name in OWN_SEEDS if name in params.instruments]
    own = {name: getattr(params, OWN_SEEDS[name]).seeds for name in there}
    if any(spec.diffed for spec in params.bases.values()) and "compare" in params.instruments:
        for seed in params.diff.seeds:
            yield "planted", ("planted", None, None, seed), f"seed{seed}"
    for base in params.bases:
        for stage in _of(params, BASE_STAGES, base):
            yield stage, (stage, base, None, None), base
    for seed in params.seeds:
        yield "items", ("items", None, None, seed), f"seed{seed}"
    for base in params.bases:
        for stage in _of(params, SEED_STAGES, base):
            for seed in params.seeds:
                yield stage, (stage, base, None, seed), f"{base}/seed{seed}"
        for stage in _of(params, DIFF_STAGES, base):
            for seed in params.diff.seeds:
                yield stage, (stage, base, None, seed), f"{base}/seed{seed}"
        for stage in _of(params, ARM_STAGES, base):
            if stage == "logged" and not logged:
                continue
            for arm, spec in params.arms.items():
                if stage == "turned" and spec.method == "none":
                    continue
                for seed in seeds_of(params, arm):
                    if seed in own.get(stage, params.seeds):
                        yield stage, (stage, base, arm, seed), f"{base}/{arm}/seed{seed}"


def _of(params: Any, stages: tuple[str, ...], base: str) -> list[str]:
    """Those of the stages that the study has for a base."""
    there = {"base", "model", "pairs", "logged", *params.instruments}
    there |= {"baselines"} if {"classify", "segment"} & there else set()
    there |= {"newcomers", "cost"} if "reuse" in there else set()
    there -= set() if params.bases[base].diffed else set(LOCAL_STAGES)
    return [stage for stage in stages if stage in there]


def curves(found: Found, params: Any, base: str) -> tuple[dict[str, Any], list[str]]:
    """What each arm logged in training: {arm: {name: {seed: [[step, value], ...]}}}.

    Read from the models' curves.json, which their manifests cover. Returns the curves of the arms
    that have any, and the files that are missing; an arm that does not train here misses
    none.
    """
    told: dict[str, Any] = {}
    missing: list[str] = []
    for arm, seed in ((a, s) for a in params.arms for s in params.seeds):
        folder = found.folders.get(("model", base, arm, seed))
        if folder is None or params.arms[arm].method in ELSEWHERE:
            continue
        try:
            lines = json.loads((folder / CURVES).read_text())
        except (OSError, ValueError):
            missing.append(f"model/{base}/{arm}/seed{seed}/{CURVES}")
            continue
        for name, points in lines.items():
            told.setdefault(arm, {}).setdefault(name, {})[seed] = points
    return told, missing


def provenance(found: Found) -> dict[str, Any]:
    """From the manifests: each stage's code, one hash of all parameters read, package versions.

    The commit is not among them: it changes also where nothing changes that a stage reads.
    """
    params: dict[str, Any] = {}
    code: dict[str, set[str]] = {}
    versions: dict[str, set[str]] = {}
    for folder in found.folders.values():
        try:
            facts = manifest.read(folder)
        except manifest.Damaged:
            continue
        params |= facts.get("params", {})
        if "code" in facts:
            code.setdefault(facts["stage"], set()).add(facts["code"])
        for package, version in facts.get("versions", {}).items():
            versions.setdefault(package, set()).add(version)
    text = json.dumps(params, sort_keys=True)
    return {
        "code": {stage: sorted(c) for stage, c in sorted(code.items())},
        "params_sha256": hashlib.sha256(text.encode()).hexdigest(),
        "params_read": sorted(params),
        "versions": {name: sorted(v) for name, v in sorted(versions.items())},
    }


def configs(found: Found, params: Any, base: str) -> dict[str, Any]:
    """Where the arms' resolved training configurations (training_args.json) differ, key by key.

    Returns {"equal": number of keys alike, "differ": {key: {arm: value}}, "arms": [...], "seed"}.
    Folders and names of a run are left out: they differ by nature.
    """
    for seed in params.seeds:
        read = {}
        for arm in params.arms:
            folder = found.folders.get(("model", base, arm, seed))
            try:
                if folder is not None:
                    read[arm] = flat(json.loads((folder / "training_args.json").read_text()))
            except (OSError, ValueError):
                continue
        if read:
            keys = sorted({key for values in read.values() for key in values if not _own(key)})
            rows = {key: {arm: read[arm].get(key) for arm in read} for key in keys}
            differ = {
                key: row
                for key, row in rows.items()
                if len({json.dumps(value, sort_keys=True) for value in row.values()}) > 1
            }
            equal = len(rows) - len(differ)
            return {"equal": equal, "differ": differ, "arms": list(read), "seed": seed}
    return {"equal": 0, "differ": {}, "arms": [], "seed": None}


def _own(key: str) -> bool:
    return key.endswith(("_dir", "run_name", "_path", "folder"))


def flat(tree: Any, head: str = "") -> dict[str, Any]:
    """A tree of dicts as one, by dotted key."""
    if not isinstance(tree, dict):
        return {head: tree}
    leaves: dict[str, Any] = {}
    for key, value in tree.items():
        leaves |= flat(value, f"{head}.{key}" if head else str(key))
    return leaves
