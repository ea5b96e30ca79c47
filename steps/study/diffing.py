"""The page's part on model diffing: each statement's figures beside their rivals, and pictures."""

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from steps.study import lines, markup, stats
from steps.study.captions import CAPTIONS
from steps.study.collect import DIFF_STAGES, Found
from steps.study.samples import embedded
from steps.study.tables import markdown, number

PICTURES = (
    ("planted", "roc"),
    ("compare", "rotation"),
    ("compare", "orders"),
    ("spatial", "spatial"),
    ("heads", "heads"),
    ("intervene", "dose"),
)
"""Stages and their pictures, by file name without its end."""
TURNED = {
    "moved": ("activations moved, share of their variance, points", 100),
    "refused": ("refused: the parent had not converged", 1),
    "settled": ("settled features", 1),
    "beyond": ("turned beyond the null, points", 100),
    "beyond_null": ("the null by its other half, points", 100),
    "paired": ("10° beyond their own null, points", 100),
    "angle": ("median angle, degrees", 1),
    "angle_null": ("median angle of the null, degrees", 1),
}
"""What an arm turned: figures of stage `turned`, with factors."""


def told(found: Found, params: Any, base: str) -> dict[str, Any]:
    """A base's figures: `lines` (rows a statement) and `turned` (rows a site and figure, by arm).

    Means over seeds with t intervals over them, where there are two or more.
    """
    here = [
        found.metrics[where]
        for stage in ("planted", "stability", *DIFF_STAGES)
        for where in found.metrics
        if where[0] == stage and where[1] in (None, base)
    ]
    values: dict[str, list[float]] = defaultdict(list)
    for name, value in (pair for metrics in here for pair in metrics.items()):
        values[name].append(value)
    rows = [
        {
            "statement": one.line.statement,
            "label": one.label,
            "site": one.site,
            "metric": one.metric,
            "value": _scaled(values[one.metric], one.line.scale, params),
            "against": one.line.against if one.beside in values else "",
            "beside": _scaled(values.get(one.beside, []), one.line.scale, params),
        }
        for one in lines.told(values)
    ]
    return {
        "lines": rows,
        "turned": _turned(found, params, base),
        "overlap": _shared(found, params, base),
        "planted": _planted(values),
        "atlas": {},
    }


def _scaled(values: list[float], scale: float, params: Any) -> dict[str, Any]:
    return stats.plain([scale * value for value in values], params.report.confidence)


def _turned(found: Found, params: Any, base: str) -> list[dict[str, Any]]:
    rows = []
    names = sorted(n for n in found.names(base) if n.startswith("turned/"))
    for site in dict.fromkeys(name.split("/")[1] for name in names):
        for key, (label, scale) in TURNED.items():
            arms = {}
            for arm in params.arms:
                series = found.series(base, arm, f"turned/{site}/{key}").values()
                if series:
                    arms[arm] = scale * sum(series) / len(series)
            if arms:
                rows.append({"label": f"{site}: {label}", "arms": arms})
    return rows


def _shared(found: Found, params: Any, base: str) -> list[dict[str, Any]]:
    """The features that two arms turned, held against each other, seed by seed."""
    import pandas as pd

    from steps.diff.across import across

    rows: list[dict[str, Any]] = []
    for seed in params.diff.seeds:
        places = {arm: found.folders.get(("turned", base, arm, seed)) for arm in params.arms}
        tables = {a: pd.read_parquet(f / "turned.parquet") for a, f in places.items() if f}
        if len(tables) > 1:
            pairs = across(tables, "paired").drop(columns=["only_one", "only_other"])
            told = json.loads(pairs.to_json(orient="records"))  # NaN becomes None
            rows += [{"seed": seed, **row} for row in told]
    return rows


def _planted(values: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    """Figures of the method's validation, by case: mean of what the stage wrote."""
    cases: dict[str, dict[str, float]] = defaultdict(dict)
    for name, each in values.items():
        if name.startswith("planted/"):
            _, case, key = name.split("/", 2)
            cases[case][key] = sum(each) / len(each)
    return dict(cases)


def drawn(found: Found, base: str, folder: Path) -> dict[str, str]:
    """Pictures of each seed as data URIs, by `<stage>-<picture>-seed<k>`; copies go to `folder`."""
    shown = {}
    for stage, picture in PICTURES:
        for (name, of, _, seed), place in sorted(found.folders.items(), key=str):
            if name != stage or of not in (None, base):
                continue
            if (path := place / f"{picture}.png").is_file():
                folder.mkdir(exist_ok=True)
                (folder / f"{picture}-{base}-seed{seed}.png").write_bytes(path.read_bytes())
                shown[f"{stage}-{picture}-seed{seed}"] = embedded(path.read_bytes())
    return shown


def atlases(found: Found, base: str, out: Path) -> dict[int, str]:
    """The pages of features, copied beside the report: seed and file name."""
    pages = {}
    for (stage, of, _, seed), place in found.folders.items():
        if stage == "atlas" and of == base and seed is not None:
            name = f"features-{base}-seed{seed}.html"
            (out / name).write_bytes((place / "index.html").read_bytes())
            pages[seed] = name
    return pages


def section(summary: dict[str, Any], base: str, drawn: dict[str, str]) -> str:
    """A base's part of the page."""
    told = summary["diff"][base]
    if not summary["ran"]["bases"][base]["diffed"]:
        return "<p>Not measured: this base has no model from before visual tuning.</p>"
    if not told["lines"]:
        return "<p>No dictionaries were compared on this base.</p>"
    parts = []
    for stage, picture in PICTURES:
        shown = [key for key in drawn if key.startswith(f"{stage}-{picture}")]
        for key in shown[:1]:  # one seed's: the others lie in figures/
            image = f'<img src="{drawn[key]}" alt="{markup.text(picture)}">'
            parts.append(
                markup.figure(image, f"{CAPTIONS[picture]} Seed {key.rsplit('seed', 1)[1]}.")
            )
    links = [
        f'<a href="{markup.text(name)}">seed {seed}</a>' for seed, name in told["atlas"].items()
    ]
    if links:
        parts.append(f"<p>Pages of features, to look at: {', '.join(links)}.</p>")
    return "".join([*parts, *(markup.plain(*table) for _, table in _tables(told))])


def text(summary: dict[str, Any], base: str) -> str:
    """The same figures in Markdown."""
    tables = _tables(summary["diff"][base])
    return "\n".join(f"## {title}\n\n{markdown(*table)}" for title, table in tables)


def _tables(told: dict[str, Any]) -> Iterator[tuple[str, tuple[list[str], list[list[str]]]]]:
    """A base's tables, each with its title: head and rows."""
    if told["planted"]:
        yield "The method on known turns, points", _known(told["planted"])
    if told["turned"]:
        arms = list(dict.fromkeys(arm for row in told["turned"] for arm in row["arms"]))
        rows = [
            [row["label"], *(number(row["arms"].get(arm)) for arm in arms)]
            for row in told["turned"]
        ]
        yield "What each arm turned", (["What each arm turned", *arms], rows)
    if told["overlap"]:
        yield "The same features?", _overlap(told["overlap"])
    yield "Statement by statement", _table(told)


def _known(cases: dict[str, dict[str, float]]) -> tuple[list[str], list[list[str]]]:
    """Of planted turns, what either rule finds among recovered atoms and all living features."""
    head = ["Planted", "refused"]
    keys = []
    for rule, name in (("beyond", "beyond the null"), ("paired", "10° beyond their own")):
        for end, of in (("", "atoms"), ("_any", "all")):
            keys += [f"found{end}/{rule}", f"false{end}/{rule}"]
            head += [f"{name}: found, {of}", f"false, {of}"]
    head.append("true among the lowest quarter")
    keys.append("quarter")
    rows = [
        [case.replace("_new", ", new tokens"), number(100 * values.get("refused", 0))]
        + [number(100 * values[key]) if key in values else "" for key in keys]
        for case, values in cases.items()
    ]
    return head, rows


def _overlap(rows: list[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    head = ["Turned in two arms", "one", "other", "both", "by chance", "Jaccard", "p"]
    body = [
        [f"{row['site']}, seed {row['seed']}: {row['one']}, {row['other']}"]
        + [
            number(row[key])
            for key in ("turned_one", "turned_other", "both", "chance_alike", "jaccard", "p")
        ]
        for row in rows
    ]
    return head, body


def _table(told: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """A row a figure, a column a site; what stands beside it follows the slash."""
    sites = list(dict.fromkeys(row["site"] for row in told["lines"]))
    sites.sort(key=lambda site: (site == "", site))
    body = []
    for key, what in lines.STATEMENTS.items():
        body.append([f"{key}: {what}", *[""] * len(sites), ""])
        mine = [row for row in told["lines"] if row["statement"] == key]
        if not mine:
            why = lines.UNMEASURED.get(key, "not measured in this study")
            body.append([why, *[""] * len(sites), ""])
        for label in dict.fromkeys(row["label"] for row in mine):
            some = {row["site"]: row for row in mine if row["label"] == label}
            cells = [_both(some[site]) if site in some else "" for site in sites]
            against = next((row["against"] for row in some.values() if row["against"]), "")
            body.append([label, *cells, against and f"/ {against}"])
    return ["", *(site or "model" for site in sites), "beside it"], body


def _both(row: dict[str, Any]) -> str:
    parts = [_cell(row["value"]), _cell(row["beside"])]
    return " / ".join(part for part in parts if part)


def _cell(value: dict[str, Any]) -> str:
    if value["mean"] is None:
        return ""
    ends = [number(value[end]) for end in ("low", "high") if value[end] is not None]
    return number(value["mean"]) + (f" [{', '.join(ends)}]" if ends else "")
