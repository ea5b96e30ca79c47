"""What stands behind a difference in right answers: the questions that one arm alone gets right."""

import re
from itertools import zip_longest
from typing import Any, NamedTuple

import pandas as pd

from steps.schema import seeds_of
from steps.study import samples
from steps.study.claims.registry import Paper, parsed
from steps.study.collect import Found

SHOWN = 3
"""Questions shown of each side, base by base."""
ANSWERS = re.compile(r"vqa/(?:kind/(?P<kind>[^/]+)/)?(?P<measure>lenient|strict)")


class Pair(NamedTuple):
    """Two arms whose right answers are held together: read how, and to which kind (None: all)."""

    arm: str
    other: str
    measure: str
    kind: str | None


def pairs(papers: dict[str, Paper], params: Any) -> list[Pair]:
    """Those that some claim, or the user's own contrast, is about, of the study's arms."""
    found = dict.fromkeys(Pair(a, b, "lenient", None) for a, b in params.contrasts)
    for claim in (claim for paper in papers.values() for claim in paper.claims.values()):
        if claim.effect and (pair := of(claim.effect)):
            found[pair] = None
    return [pair for pair in found if {pair.arm, pair.other} <= set(params.arms)]


def of(effect: str) -> Pair | None:
    """The pair that an effect subtracts, `a:vqa/lenient - b:vqa/lenient`; None for any other."""
    terms = parsed(effect)
    if len(terms) != 2 or terms[0].metrics != terms[1].metrics or len(terms[0].metrics) != 1:
        return None
    told = ANSWERS.fullmatch(terms[0].metrics[0])
    arms = [term.arm for term in sorted(terms, key=lambda term: -term.weight)]
    if not told or None in arms or arms[0] == arms[1] or terms[0].weight * terms[1].weight >= 0:
        return None
    return Pair(str(arms[0]), str(arms[1]), told["measure"], told["kind"])


def key(one: dict[str, Any]) -> Pair:
    """The pair that an entry of `told` is about, also where it was read back from JSON."""
    return Pair(*(one[name] for name in Pair._fields))


def told(found: Found, params: Any, wanted: list[Pair]) -> list[dict[str, Any]]:
    """For each pair and base how many questions either alone has right, and some with pictures.

    Counts are over all seeds that both have; pictures are of the first, kind by kind, in the order
    that the questions were asked in.
    """
    return [
        one
        for pair in wanted
        for base in params.bases
        if (one := _pair(found, params, base, pair)) is not None
    ]


def _pair(found: Found, params: Any, base: str, pair: Pair) -> dict[str, Any] | None:
    counts, shown = {}, {"gained": [], "lost": []}
    for seed in seeds_of(params, pair.arm):
        places = {a: found.folders.get(("vqa", base, a, seed)) for a in (pair.arm, pair.other)}
        try:
            answers = {a: samples.answers(place) for a, place in places.items() if place}
            if len(answers) < 2:
                continue
        except samples.LOST:
            continue
        scores = pd.DataFrame({a: table[pair.measure] for a, table in answers.items()}).dropna()
        if pair.kind:
            scores = scores[answers[pair.arm].loc[scores.index, "kind"] == pair.kind]
        right = scores > 0.5
        sides = {
            "gained": right.index[right[pair.arm] & ~right[pair.other]],
            "lost": right.index[~right[pair.arm] & right[pair.other]],
        }
        counts[seed] = {"questions": len(right)} | {k: len(v) for k, v in sides.items()}
        if len(counts) == 1:
            shown = {k: _shown(found, seed, answers, v) for k, v in sides.items()}
    return {**pair._asdict(), "base": base, "seeds": counts} | shown if counts else None


def _shown(
    found: Found, seed: int, answers: dict[str, pd.DataFrame], items: pd.Index
) -> list[dict[str, Any]]:
    folder = found.folders.get(("items", None, None, seed))
    if folder is None:
        return []
    try:
        asked, images = samples.questions(folder)
    except samples.LOST:
        return []
    there = asked.loc[[item for item in items if item in asked.index]]
    kinds = [list(rows.index) for _, rows in there.groupby("kind")]
    turns = [item for turn in zip_longest(*kinds) for item in turn if item is not None]
    return [samples.sample(asked.loc[i], i, seed, answers, images) for i in turns[:SHOWN]]
