"""Questions with their pictures and the arms' answers, for the page."""

from typing import Any

from steps.study.behind import Pair, key
from steps.study.canvas import colours
from steps.study.markup import arm, table, text


def section(summary: dict[str, Any], base: str, _: dict[str, str]) -> str:
    """A base's sample scenes, and for each contrast what either arm alone has right."""
    told, number_of = summary["samples"].get(base), colours(summary["ran"]["arms"])
    caption = (
        "Pictures as the model is given them, enlarged. In each kind of question, those on which "
        "arms disagree come first: they show how arms differ, not how often. ✓ right; a grey ✓ "
        "right, but not in the form asked for; ✗ wrong."
    )
    scenes = "<p>No sample scenes: answers or pictures are not there.</p>"
    if told:
        cards = "".join(_card(one, number_of) for one in told)
        scenes = f'<p class="caption">{caption}</p><div class="scenes">{cards}</div>'
    return scenes + _behind(summary["behind"], base, number_of)


def anchor(pair: Pair) -> str:
    """Where the page shows what stands behind the difference of two arms."""
    return "-".join(["behind", *filter(None, pair)])


def _behind(told: list[dict[str, Any]], base: str, number_of: dict[str, int]) -> str:
    own = [one for one in told if one["base"] == base]
    if not own:
        return ""
    parts = [
        "<h3>What stands behind the differences</h3>"
        '<p class="caption">For each two arms whose right answers a claim holds together: how '
        "many questions either alone has right, and the first of them, kind by kind. Two arms "
        "that score alike may still answer otherwise.</p>"
    ]
    for one in own:
        pair = key(one)
        first = next(other for other in told if key(other) == pair)
        name = f' id="{text(anchor(pair))}"' if first is one else ""
        parts.append(f"<details{name}>{_difference(one, pair, number_of)}</details>")
    return "".join(parts)


def _difference(one: dict[str, Any], pair: Pair, number_of: dict[str, int]) -> str:
    sides = {"gained": (pair.arm, pair.other), "lost": (pair.other, pair.arm)}
    head = ["seed", "questions", *(f"{a} alone right" for a, _ in sides.values())]
    rows = [
        [str(seed), *(str(of[name]) for name in ("questions", *sides))]
        for seed, of in one["seeds"].items()
    ]
    cards = "".join(
        f'<p class="about">{arm(a, number_of)} is right, {arm(b, number_of)} is not</p>'
        f'<div class="scenes">{"".join(_card(s, number_of) for s in one[side])}</div>'
        for side, (a, b) in sides.items()
        if one[side]
    )
    which = f"{pair.arm} and {pair.other}, {f'{pair.kind}, ' if pair.kind else ''}read " + (
        "leniently" if pair.measure == "lenient" else "strictly, in the form asked for"
    )
    return f"<summary>{text(which)}</summary>{table([text(h) for h in head], rows)}{cards}"


def _card(one: dict[str, Any], number_of: dict[str, int]) -> str:
    answers = "".join(
        f"<dt>{arm(name, number_of)}</dt>"
        f'<dd class="{_mark(a)}">{text(a["raw"]) or "(nothing)"}</dd>'
        for name, a in one["answers"].items()
    )
    return (
        f'<article class="scene"><img src="{one["picture"]}" alt="scene {text(one["item"])}" '
        f'loading="lazy"><div><p class="about">{text(one["kind"])}, {text(one["form"])}, '
        f"seed {one['seed']}</p><p>{text(one['question'])}</p>"
        f'<p class="about">truth: <b>{text(one["truth"])}</b></p></div><dl>{answers}</dl></article>'
    )


def _mark(answer: dict[str, Any]) -> str:
    if not answer["lenient"]:
        return "wrong"
    return "right" if answer["strict"] else "form"
