"""The atlas as a page: a list of the features shown, and a card for each."""

from collections.abc import Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
import pandas as pd

from steps.diff.leaves import inline, panels
from steps.diff.leaves.panels import DASH, number, percent
from steps.diff.leaves.scenes import Card, Read, scene

WHY = {"spatial": "spatial", "turned": "turned", "visual": "visual", "foil": "foil"}
"""What the page calls the groups of steps.diff.leaves.shown."""


def page(
    cards: Sequence[Card],
    read: Read,
    features: pd.DataFrame,
    spatial: pd.DataFrame | None,
    heads: pd.DataFrame | None,
    title: str,
) -> str:
    """The whole page. features: all of compare's (`shown.tidy`), for the nulls' histograms."""
    used = sorted({row for card in cards for row in card.scenes})
    images = read.images
    pictures = "".join(f".p{row}{{--p:url({inline.uri(images[row])})}}" for row in used)
    sites = dict(list(features.groupby("site")))
    counts = {name: sum(c.row.why == name for c in cards) for name in WHY}
    told = ", ".join(f"{n} as {WHY[name]}" for name, n in counts.items() if n)
    without = ", none as ".join(WHY[name] for name, n in counts.items() if not n)
    body = "".join(
        _card(card, read, sites[card.row.site], spatial, heads, at) for at, card in enumerate(cards)
    )
    return Template(Path(__file__).with_name("atlas.html").read_text()).substitute(
        title=escape(title),
        style=inline.ramp() + pictures,
        questions=len(read.table),
        shown=f"{len(cards)} are shown: {told}{', none as ' + without if without else ''}.",
        alive=f"{int(features['alive'].sum())} of {len(features)}",
        sites=escape(", ".join(sites)),
        list=_list(cards),
        cards=body,
    )


def _id(row: Any) -> str:
    return f"{row.site}-{row.feature}"


def _flag(row: Any) -> str:
    if row.corner:
        return "corner"
    return ", ".join(order for order in "xy" if getattr(row, f"beyond_{order}"))


def _class(row: Any) -> str:
    told = {o: getattr(row, f"class_{o}") for o in "xy"}
    told = {o: escape(v) for o, v in told.items() if isinstance(v, str)}
    if len(set(told.values())) == 1:
        return [*told.values()][0]
    return ", ".join(f"{o} {v}" for o, v in told.items()) or DASH


def _list(cards: Sequence[Card]) -> str:
    head = (
        ("site", ""), ("feature", ""), ("shown as", ""), ("image", "fires, %"),
        ("question", "fires, %"), ("answer", "fires, %"), ("visual", "share"), ("best label", ""),
        ("AUROC", ""), ("x", "cosine"), ("x", "quantile"), ("y", "cosine"), ("y", "quantile"),
        ("beyond", ""), ("class", ""),
    )  # fmt: skip
    top = "".join(
        f'<th scope="col"><button type="button">{name} <small>{unit}</small></button></th>'
        for name, unit in head
    )
    return (
        f'<table class="list"><thead><tr>{top}</tr></thead>'
        f"<tbody>{''.join(map(_line, cards))}</tbody></table>"
    )


def _line(card: Card) -> str:
    row = card.row
    label, auroc = ("", np.nan) if card.labels.empty else card.labels.iloc[0][["label", "auroc"]]
    figures = [(getattr(row, f"rate_F_{k}"), percent) for k in ("image", "question", "answer")]
    figures += [(row.visual, number)]
    cells = [
        f'<td class="t">{escape(row.site)}</td>',
        f'<td data-v="{row.feature}"><a href="#{escape(_id(row))}">{row.feature}</a></td>',
        f'<td class="t"><span class="why {row.why}">{WHY[row.why]}</span></td>',
        *(_figure(value, told(value)) for value, told in figures),
        f'<td class="t">{escape(label) or DASH}</td>',
        _figure(auroc, number(auroc)),
    ]
    for order in "xy":
        for name in ("cosine", "quantile"):
            value = getattr(row, f"{name}_{order}")
            cells.append(_figure(value, number(value, 3)))
    cells.append(f'<td class="t">{_flag(row) or DASH}</td><td class="t">{_class(row)}</td>')
    return f"<tr>{''.join(cells)}</tr>"


def _figure(value: float, told: str) -> str:
    return f'<td data-v="{float(value):.9g}">{told}</td>'


def _card(
    card: Card,
    read: Read,
    site: pd.DataFrame,
    spatial: pd.DataFrame | None,
    heads: pd.DataFrame | None,
    at: int,
) -> str:
    row, n = card.row, len(read.table)
    flag = f'<span class="flag">{_flag(row)}</span>' if _flag(row) else ""
    scenes = "".join(scene(card, read, i) for i in card.scenes)
    scenes = scenes or "<p>It fires on no image and no question read here.</p>"
    sides = {
        "Labels it tells, report half": panels.labels(card.labels),
        "Relations, from <code>spatial</code>": panels.relations(spatial, row),
        "Words it fires on": panels.words(card.words, read.text),
        "Words its direction promotes (logit lens)": panels.lens(card.up, card.down),
        "Where in the image": panels.where(card.means),
        "Firing rate by token type": panels.rates(row),
        "Turned, against the null": panels.angles(row, site),
        "Heads that drive it": panels.heads(heads, row),
    }
    parts = [f"<section><h3>{title}</h3>{part}</section>" for title, part in sides.items()]
    beside = "".join(f"<div>{one}{two}</div>" for one, two in zip(*[iter(parts)] * 2, strict=True))
    return (
        f'<article class="card" id="{escape(_id(row))}"><header><h2>{escape(row.site)} '
        f"<span>/</span> {row.feature}</h2>"
        f'<span class="why {row.why}">{WHY[row.why]}</span>{flag}'
        f'<span class="about">{_class(row)} · fires in {card.fires} of {n} questions</span>'
        f'{_scale(card.top)}<a class="up" href="#list">list</a></header>'
        f'<div class="scenes">{scenes}</div><div class="side">{beside}</div></article>'
    )


def _scale(top: float) -> str:
    """The feature's scale with numbers at its ends and in its middle."""
    if top <= 0:
        return ""
    boxes = "".join(f'<i class="q{i}"></i>' for i in range(1, inline.LEVELS + 1))
    ends = "".join(f"<span>{number(top * part)}</span>" for part in (0, 0.5, 1))
    return f'<span class="scale"><span class="boxes">{boxes}</span><span>{ends}</span></span>'
