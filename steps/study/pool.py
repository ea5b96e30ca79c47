"""Studies pooled: the units of several, judged together as those of one.

What they share must be the same: arms, methods, instruments, items. They differ in their seeds; a
study of other bases may differ in its world and numbers of items as well, for each base knows one
world. No unit, a seed of a base, may be in two of them. A base that two of them have is the same
weights, and results that a study's params do not name are left behind.
"""

import hashlib
import json
import shutil
from itertools import combinations
from pathlib import Path
from string import Template
from typing import Any

import yaml

from steps.params import check
from steps.place import private, publish
from steps.schema import Params
from steps.stage import StageError
from steps.study import share
from steps.study.claims import forest, judge, page, registry, texts
from steps.study.collect import ITEMS, Found, flat
from steps.study.markup import plain, text

OWN = ("study", "seeds", "diff.seeds", "gaze.seeds", "bases")
"""Keys of params that studies may have otherwise."""
OF_BASES = ("world", "items")
"""The same, where they have no base in common."""
NEEDED = ("manifest.json", "metrics.json", ITEMS)
WRITTEN = {"index.html", "claims.md", "claims.tex", "summary.json", "figures"}
"""What is in a folder of studies that were pooled."""

Places = dict[str, tuple[Path, dict[str, Any] | None]]
"""By name a study's results folder, with its params, or an export, which has them inside (None)."""


def pool(places: Places, out: Path) -> dict[str, Any]:
    """Judge all claims on the units of several studies; writes `out`, and returns its summary.

    `out` gets index.html, claims.md and .tex, summary.json and figures, whole or not at all; an
    earlier pool there is replaced. Raises StageError that names what two studies have otherwise, a
    unit that both have, or an `out` that holds anything else.
    """
    if len(places) < 2:
        raise StageError("give two studies or more to pool, as in make pool STUDIES='a b' TO=c")
    if out.exists() and {path.name for path in out.iterdir()} - WRITTEN:
        raise StageError(f"{out} holds more than studies that were pooled: name another folder")
    found, every = joined(places)
    told = judge.told(found, together(every), registry.read())
    told["scope"] = "; ".join(dict.fromkeys(judge.scope(params) for params in every.values()))
    summary = {
        "studies": {
            name: {"title": p.study.title, "bases": list(p.bases), "seeds": list(p.seeds)}
            for name, p in every.items()
        },
        "params_sha256": _hash(next(iter(every.values()))),
        "claims": told,
    }
    _write(summary, out)
    return summary


def joined(places: Places) -> tuple[Found, dict[str, Params]]:
    """The metrics of several studies as those of one, and each one's params. Raises as `pool`."""
    studies = {name: _read(name, place, told) for name, (place, told) in places.items()}
    for one, other in combinations(studies, 2):
        _alike(one, studies[one][0], other, studies[other][0])
        _same_bases(one, studies[one][2], other, studies[other][2])
    found, source = Found(), {}
    for name, (_, own, _) in studies.items():
        found.items |= own.items
        for (stage, base, arm, seed), values in own.metrics.items():
            unit = (base, seed)
            if None not in unit and source.setdefault(unit, name) != name:
                raise StageError(
                    f"{source[unit]} and {name} both have seed {seed} of base {base}: a unit "
                    "counts once, leave one of them out"
                )
            found.metrics[stage if base else f"{stage} of {name}", base, arm, seed] = values
    return found, {name: params for name, (params, _, _) in studies.items()}


def together(every: dict[str, Params]) -> Params:
    """Params as of one study of all bases and seeds."""
    bases = {base: of for params in every.values() for base, of in params.bases.items()}
    seeds = sorted({seed for params in every.values() for seed in params.seeds})
    return next(iter(every.values())).model_copy(update={"bases": bases, "seeds": seeds})


def _read(
    name: str, place: Path, told: dict[str, Any] | None
) -> tuple[Params, Found, dict[str, Any]]:
    """A study's params, its metrics and answers to benchmarks, and each base's files."""
    files, found, weights = share.opened(place, NEEDED), Found(), {}
    if told is None:
        if share.PARAMS not in files:
            raise StageError(f"{place} is no export: it has no {share.PARAMS}")
        told = yaml.safe_load(files[share.PARAMS])
    params = check(told or {}, name)
    ours = (params.bases, params.arms, params.seeds)
    for path, data in files.items():
        folder, _, last = path.rpartition("/")
        if last != "metrics.json" or f"{folder}/manifest.json" not in files:
            continue
        try:
            facts = json.loads(files[f"{folder}/manifest.json"])
            where = (folder.split("/")[0], facts["base"], facts["arm"], facts["seed"])
            values = json.loads(data)
            values = {k: v for k, v in values.items() if isinstance(v, (int, float))}
        except (ValueError, KeyError, TypeError, AttributeError):
            raise StageError(f"{place}: {folder} has no metrics of ours") from None
        if any(
            at is not None and at not in named for at, named in zip(where[1:], ours, strict=True)
        ):
            continue
        if where[0] == "base":
            weights[where[1]] = facts.get("files")
        found.metrics[where] = values
        if where[0] == "logged" and (items := files.get(f"{folder}/{ITEMS}")) is not None:
            found.items[where] = items
    return params, found, weights


def _alike(name: str, one: Params, other_name: str, other: Params) -> None:
    """Raises StageError for the first key that two studies may not have otherwise."""
    free = OWN if set(one.bases) & set(other.bases) else OWN + OF_BASES
    a, b = _bound(one, free), _bound(other, free)
    for key in sorted(set(a) | set(b)):
        if a.get(key) != b.get(key):
            raise StageError(
                f"{key} = {b.get(key)!r} in {other_name}, {a.get(key)!r} in {name}: studies that "
                "are pooled have the same params but for seeds; those of other bases may have "
                "another world and other numbers of items"
            )


def _same_bases(name: str, one: dict[str, Any], other_name: str, other: dict[str, Any]) -> None:
    """Raises StageError where a base of two studies has other files in each."""
    for base in sorted(set(one) & set(other)):
        if one[base] != other[base]:
            raise StageError(
                f"base {base} of {name} and of {other_name} are not the same files: give one of "
                "them another name, so that they are told apart"
            )


def _bound(params: Params, free: tuple[str, ...]) -> dict[str, Any]:
    """Values by dotted key, but for those that may be otherwise."""
    return {
        key: value
        for key, value in flat(params.model_dump(mode="json")).items()
        if not any(key == f or key.startswith(f"{f}.") for f in free)
    }


def _hash(params: Params) -> str:
    """Of what all studies have in common."""
    shared = json.dumps(_bound(params, OWN + OF_BASES), sort_keys=True)
    return hashlib.sha256(shared.encode()).hexdigest()


def _write(summary: dict[str, Any], out: Path) -> None:
    half = private(out)
    half.mkdir(parents=True)
    try:
        whole = json.dumps(summary, indent=1, ensure_ascii=False)
        (half / "summary.json").write_text(whole + "\n")
        (half / "claims.md").write_text(texts.markdown(summary["claims"]))
        (half / "claims.tex").write_text(texts.tex(summary["claims"]))
        forests = forest.forests(summary["claims"], half / "figures")
        (half / "index.html").write_text(_page(summary, forests), encoding="utf-8")
        publish(half, out)
    finally:
        shutil.rmtree(half, ignore_errors=True)


def _page(summary: dict[str, Any], forests: dict[str, str]) -> str:
    rows = [
        [name, told["title"], ", ".join(told["bases"]), ", ".join(map(str, told["seeds"]))]
        for name, told in summary["studies"].items()
    ]
    title = "What held, all studies together"
    body = (
        f'<header><div class="kicker">sightline · {text(" + ".join(summary["studies"]))}</div>'
        f"<h1>{title}</h1>{plain(['study', 'title', 'bases', 'seeds'], rows, 'text')}"
        f'<p class="caption">Params in common: <code>{summary["params_sha256"][:16]}</code>. Each '
        "study’s own page has its figures, scenes and pictures.</p></header><main><section "
        f'id="claims">{page.section(summary, forests)}</section></main>'
        "<footer>The same numbers: <code>summary.json</code>, <code>claims.md</code> and "
        "<code>claims.tex</code>.</footer>"
    )
    style = Template(Path(__file__).with_name("page.html").read_text())
    return style.substitute(title=title, body=body)
