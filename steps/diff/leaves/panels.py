"""The small tables and plots beside a feature's scenes, as HTML; every text is escaped."""

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

import numpy as np
import pandas as pd

from steps.diff.leaves import inline
from steps.diff.leaves.shown import CELLS, KINDS

MAPS = 2  # of one feature's relations
DASH = '<span class="none">–</span>'
ARROWS = {"x": "cos(D, DF)", "y": "cos(M, MF)"}
"""Order: the cosine between a feature's directions before and after."""
RULES = ("beyond", "paired")
"""compare's verdicts: beyond the null's quantile; at least 10 degrees beyond its own null."""
INPUTS = {"S": "aligned, text", "D": "aligned, image", "M": "tuned, text", "F": "tuned, image"}
RELATIONS = {
    "auroc_select": "select",
    "auroc": "report",
    "auroc_report": "report",
    "before": "before",
    "mirrored": "mirror",
    "exchanged": "names",
    "word": "word",
}
"""Columns of spatial's table that are shown, and their headings."""


def number(value: Any, digits: int = 2, sign: bool = False) -> str:
    """A figure with a true minus sign; a dash where there is none."""
    if value is None or not np.isfinite(float(value)):
        return DASH
    value = round(float(value), digits) + 0.0  # no minus before a zero
    return (f"{value:+.{digits}f}" if sign else f"{value:.{digits}f}").replace("-", "−")


def percent(share: Any) -> str:
    """A share in per cent; below a tenth of one, `<0.1`."""
    if share is None or not np.isfinite(float(share)):
        return DASH
    return "&lt;0.1" if 0 < share < 0.001 else f"{100 * float(share):.1f}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of ready cells; the first of each row is its heading."""
    top = "".join(f'<th scope="col">{cell}</th>' for cell in head)
    body = "".join(
        f'<tr><th scope="row">{row[0]}</th>' + "".join(f"<td>{c}</td>" for c in row[1:]) + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def angles(row: Any, site: pd.DataFrame) -> str:
    """A feature's cosine in each order on the histogram of its site's null."""
    parts = []
    for order, what in ARROWS.items():
        cosine, null = getattr(row, f"cosine_{order}"), getattr(row, f"null_{order}")
        told = (
            f"{order}: {what} = {number(cosine, 3)}, quantile in the null "
            f"{number(getattr(row, f'quantile_{order}'), 3)}, "
            f"{number(getattr(row, f'excess_{order}'), 1, True)}° beyond its own null"
        )
        settled = site.loc[site[f"settled_{order}"], f"null_{order}"].dropna()
        if not np.isfinite(cosine) or settled.empty:
            parts.append(f"<p>{order}: {what}: not measured, or refused.</p>")
            continue
        rules = ", ".join(name for name in RULES if getattr(row, f"{name}_{order}"))
        plain = f"Histogram of the null's angles with this feature's, order {order}"
        told += f"; <b>{rules}</b>" if rules else ""
        parts.append(f"<p>{told}</p>{inline.histogram(settled, cosine, null, plain)}")
    return "".join(parts)


def rates(row: Any) -> str:
    """Firing rates in per cent by token type, a row a cell; a dot where a cell has none such."""
    lines = []
    for cell in CELLS:
        absent = {"S": "image", "M": "image", "D": "told", "F": "told"}[cell]
        cells = [
            '<span class="none">·</span>' if kind == absent else percent(
                getattr(row, f"rate_{cell}_{kind}")
            )
            for kind in KINDS
        ]  # fmt: skip
        lines.append([f'{cell} <span class="none">{INPUTS[cell]}</span>', *cells])
    return table(["% of tokens", "image", "question", "answer", "told"], lines)


def labels(rows: pd.DataFrame) -> str:
    """The labels that a feature tells best."""
    if rows.empty:
        return "<p>No label is frequent enough among the questions read.</p>"
    lines = [
        [
            escape(r.label),
            f"<b>{number(r.auroc)}</b>",
            number(r.auroc_image),
            f"±{r.chance:.2f}",
            f"{r.positive} / {r.positive + r.negative}",
        ]
        for r in rows.itertuples()
    ]
    return table(["label", "AUROC", "image only", "chance", "have it / all"], lines)


def relations(spatial: pd.DataFrame | None, row: Any) -> str:
    """What the stage `spatial` says of a feature, as it stands in its table."""
    if spatial is None:
        return "<p>This study has no stage <code>spatial</code>.</p>"
    some = _of(spatial, row)
    if some.empty:
        return "<p>No row in <code>spatial.parquet</code>.</p>"
    names = [name for name in RELATIONS if name in some]
    chosen = some["selected"].eq(True) if "selected" in some else [False] * len(some)
    lines = [
        [f"<b>{escape(r)} ✓</b>" if mark else escape(r), *(number(v) for v in figures)]
        for r, mark, figures in zip(
            some["relation"], chosen, some[names].itertuples(index=False), strict=True
        )
    ]
    about = (
        "AUROC on the select and the report half, and before tuning; effects, in standard "
        "deviations, of mirroring the image, of exchanging the names, and of the relation’s word. "
        "✓: selected."
    )
    head = ["relation", *(RELATIONS[name] for name in names)]
    return f'<div class="wide">{table(head, lines)}</div><p class="about">{about}</p>'


def _of(found: pd.DataFrame, row: Any) -> pd.DataFrame:
    return found[(found["site"] == row.site) & (found["feature"] == row.feature)]


def words(found: pd.DataFrame, text: dict[int, str]) -> str:
    """The words on which a feature fires most."""
    if found.empty:
        return "<p>It fires on no word of these questions and answers.</p>"
    lines = [
        [f"<code>{escape(text[token].strip())}</code>", number(mean), percent(share), str(count)]
        for token, mean, count, share in zip(
            found["token"], found["mean"], found["count"], found["share"], strict=True
        )
    ]
    return table(["word", "mean", "fires, %", "of"], lines)


def lens(up: list[tuple[str, float]], down: list[tuple[str, float]]) -> str:
    """The words that a decoder direction promotes most and least."""

    def line(title: str, some: list[tuple[str, float]]) -> str:
        told = " ".join(
            f'<span title="{number(v, 3, True)}"><code>{escape(w.strip())}</code> '
            f"<small>{number(v, 1, True)}</small></span>"
            for w, v in some
        )
        return f'<p class="lens"><i>{title}</i> {told}</p>'

    return line("most", up) + line("least", down)


def heads(found: pd.DataFrame | None, row: Any) -> str:
    """The heads that drive a feature: exact effects where there, else attributions."""
    if found is None:
        return "<p>This study has no stage <code>heads</code>.</p>"
    some = _of(found, row)
    if some.empty or not {"exact", "attribution"} & set(some):
        return "<p>No row in <code>heads.parquet</code>.</p>"
    if "relation" not in some:
        some = some.assign(relation="")
    maps = some.groupby("relation", sort=False)
    return "".join(_map(name, part) for name, part in [*maps][:MAPS])


def _map(relation: str, some: pd.DataFrame) -> str:
    """One map: exact effects where every head has one, else attributions."""
    exact = "exact" in some and len(some["exact"].dropna()) == len(some)
    column = "exact" if exact else "attribution"
    known = some.dropna(subset=[column]).itertuples()
    rows = [(int(r.layer), int(r.head), float(getattr(r, column))) for r in known]
    if not rows:
        return "<p>Its heads were not measured.</p>"
    strong = sorted(rows, key=lambda r: (-abs(r[2]), r[:2]))[:3]
    told = ", ".join(f"L{a} H{b} {number(v, 3, True)}" for a, b, v in strong)
    of = f" on “{escape(relation)}”" if relation else ""
    what = {"exact": "Exact patching", "attribution": "Attribution"}[column]
    plain = f"Heads of this feature, layers down, heads across{of}"
    return f"<p>{what}{of}: {told}</p>{inline.grid(rows, plain)}"


def where(means: np.ndarray) -> str:
    """A feature's mean activation at each place of the image, on a scale of its own."""
    top = float(means.max())
    if top <= 0:
        return "<p>It does not fire on the image.</p>"
    side = int(np.sqrt(len(means)))
    row, column = divmod(int(means.argmax()), side)
    return (
        f'<div class="place"><img alt="" src="{inline.heat(means, top)}"><p>Mean over the '
        f"questions read; darkest is {number(top)}, in row {row + 1}, column {column + 1} of "
        f"{side}.</p></div>"
    )
