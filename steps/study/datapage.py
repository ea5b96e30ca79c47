"""The page of `make data-check`: one file, no script, nothing fetched, all text escaped."""

import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from steps.data.own.item import Item
from steps.study.markup import plain, text

STYLE = """
:root { color-scheme: light dark; --ink: #1d2329; --paper: #fff; --soft: #667; --line: #d8dce2;
  --bar: #2f77c2; --bad: #a33 }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8eb; --paper: #15181c; --soft: #9aa3ad;
  --line: #343a42; --bar: #6ea8e0; --bad: #f08a8a } }
body { font: 16px/1.55 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 70rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.6rem; margin: 0 } h2 { margin: 2.4rem 0 .6rem; font-size: 1.2rem }
.lead, figcaption, .about, caption { color: var(--soft) } .bad { color: var(--bad) }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
.wide { overflow-x: auto } th, td { text-align: left; padding: .25rem .9rem .25rem 0;
  border-bottom: 1px solid var(--line); vertical-align: top; overflow-wrap: anywhere }
td { min-width: 3rem } .bar { display: block; height: .55rem; background: var(--bar);
  border-radius: .2rem; margin-top: .5rem }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(20rem, 1fr)); gap: 1.2rem }
article { display: flex; gap: .8rem; min-width: 0 } article img { width: 160px; height: 160px }
article p { margin: 0 0 .3rem; overflow-wrap: anywhere } .about { font-size: .85rem }
pre { white-space: pre-wrap; overflow-wrap: anywhere; margin: 0 0 .3rem; font: inherit }
"""
LONGEST = 400
"""Characters of a text that a card shows."""


def render(
    told: dict[str, Any],
    samples: Sequence[tuple[Item, np.ndarray, list[float] | None]],
    owner: dict[str, str],
) -> str:
    """The page as HTML; told: as `datacheck.look` gives it. owner: the set of each item."""
    sets = told["sets"]
    used = ", ".join(f"{facts['items']} to {name}" for name, facts in sets.items())
    parts = [
        f"<h1>Data of {text(told['study'])}</h1>",
        f'<p class="lead">{text(told["path"])}: {told["rows"]} rows; {text(used)}.</p>',
        _rows(told),
        _sets(sets),
        _answers(sets),
        _doubles(told["doubles"]),
        _broken(told),
        _samples(samples, owner),
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Data of {text(told['study'])}</title><style>{STYLE}</style></head>"
        f"<body>{''.join(parts)}</body></html>\n"
    )


def _rows(told: dict[str, Any]) -> str:
    rows = [["rows read", told["rows"]]]
    rows += [[f"left out: {why}", n] for why, n in told["left_out"].items()]
    rows += [["images", told["images"]], ["images opened", told["images_opened"]]]
    if told["later_turns_left_out"]:
        rows.append(["later questions of conversations, left out", told["later_turns_left_out"]])
    columns = ", ".join(f"{name}: {path}" for name, path in told["columns"].items())
    return (
        f"<h2>What was read</h2>{plain(['', 'number'], rows)}"
        f'<p class="about">Columns: {text(columns)}. Reward: {text(", ".join(told["reward"]))}.</p>'
    )


def _sets(sets: dict[str, dict[str, Any]]) -> str:
    rows = [["items", *(f["items"] for f in sets.values())]]
    rows.append(["images", *(f["images"] for f in sets.values())])
    for part in ("prompt", "response"):
        for unit in ("words", "characters"):
            each = ["{:.0f} / {:.0f} / {:.0f} / {:.0f}".format(*f[part][unit])
                    for f in sets.values()]  # fmt: skip
            rows.append([f"{part}, {unit}", *each])
    for name in ("rewards", "kinds"):
        each = [", ".join(f"{k} {n}" for k, n in f[name].items()) for f in sets.values()]
        rows.append([name, *each])
    rows.append(["different answers", *(f["different_answers"] for f in sets.values())])
    rows.append(
        ["always the commonest answer", *(f"{f['commonest_answer']:.1%}" for f in sets.values())]
    )
    note = "Lengths: least / median / 95th percentile / most."
    return f'<h2>Sets</h2>{plain(["", *sets], rows)}<p class="about">{note}</p>'


def _answers(sets: dict[str, dict[str, Any]]) -> str:
    parts = ["<h2>Commonest answers</h2>"]
    for name, facts in sets.items():
        most = max(facts["answers"].values(), default=1)
        rows = "".join(
            f'<tr><td>{text(_short(value, 80))}</td><td>{n}</td><td style="width:14rem">'
            f'<span class="bar" style="width:{100 * n / most:.1f}%"></span></td></tr>'
            for value, n in facts["answers"].items()
        )
        body = rows or "<tr><td>none that can be judged</td></tr>"
        parts.append(
            f"<details{' open' if name == 'train' else ''}><summary>{text(name)}</summary>"
            f'<div class="wide"><table>{body}</table></div></details>'
        )
    return "".join(parts)


def _doubles(told: dict[str, dict[str, Any]]) -> str:
    parts = ["<h2>Doubles</h2>"]
    for name, found in told.items():
        rows = [[name, where, n] for where, n in found["numbers"].items()]
        parts.append(plain(["", "where", "number"], rows) if rows else f"<p>No {text(name)}.</p>")
        if found["items"]:
            lines = "".join(f"<li>{text(', '.join(group))}</li>" for group in found["items"])
            parts.append(f"<details><summary>Which</summary><ul>{lines}</ul></details>")
    note = (
        "Equal images are equal byte by byte, under several names. Equal questions have equal "
        "words and equal images. Between a training and a judged set they are leaks."
    )
    return "".join(parts) + f'<p class="about">{note}</p>'


def _broken(told: dict[str, Any]) -> str:
    if not told["broken"]:
        return "<h2>Broken items</h2><p>None.</p>"
    rows = [[why, n] for why, n in told["reasons"].items()]
    items = plain(["item", "reason"], [[i, why] for i, why in told["broken_items"].items()])
    return (
        f'<h2>Broken items</h2><p class="bad">{told["broken"]} items are broken.</p>'
        f"{plain(['reason', 'number'], rows)}<details><summary>Which</summary>{items}</details>"
    )


def _samples(
    samples: Sequence[tuple[Item, np.ndarray, list[float] | None]], owner: dict[str, str]
) -> str:
    cards = []
    for one, pixels, box in samples:
        more = text(_short(one.rejected)) if one.rejected else ""
        more = f'<p class="about">rejected: {more}</p>' if more else ""
        options = f" · {text(' / '.join(one.choices))}" if one.choices else ""
        response = "" if one.response.startswith("[{:") else one.response
        cards.append(
            f'<article><img alt="" src="{_picture(pixels, box)}"><div>'
            f'<p class="about">{text(one.id)} · {text(owner[one.id])} · {text(one.kind)}</p>'
            f"<pre>{text(_short(one.prompt))}</pre><pre><b>{text(_short(response))}</b></pre>"
            f'<p class="about">judged by {text(one.reward)}: {text(_short(one.value))}{options}</p>'
            f"{more}</div></article>"
        )
    return f'<h2>Samples, drawn by chance</h2><div class="cards">{"".join(cards)}</div>'


def _short(told: str, most: int = LONGEST) -> str:
    return told if len(told) <= most else told[: most - 1] + "…"


def _picture(pixels: np.ndarray, box: list[float] | None) -> str:
    """An image as a JPEG inside an address, its box drawn on it."""
    from PIL import Image, ImageDraw

    picture = Image.fromarray(pixels)
    if box is not None:
        corners = [n * (len(pixels) - 1) for n in box]
        ImageDraw.Draw(picture).rectangle(corners, outline=(240, 60, 60), width=2)
    with io.BytesIO() as file:
        picture.save(file, "JPEG", quality=85)
        return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
