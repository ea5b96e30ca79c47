"""What stands behind a difference in right answers: the questions that one arm alone gets right."""

from itertools import zip_longest
from typing import Any

import numpy as np
import pandas as pd

from steps.schema import seeds_of
from steps.study import samples
from steps.study.claims.registry import Paper, parsed
from steps.study.collect import Found

SHOWN = 3
"""Questions shown of each side, base by base."""


def pairs(papers: dict[str, Paper], params: Any) -> list[tuple[str, str]]:
    """The pairs of arms whose answers some claim, or the user's own contrast, holds together."""
    found = dict.fromkeys((a, b) for a, b in params.contrasts)
    for claim in (claim for paper in papers.values() for claim in paper.claims.values()):
        if claim.effect and (pair := of(claim.effect)):
            found[pair] = None
    return [pair for pair in found if set(pair) <= set(params.arms)]


def of(effect: str) -> tuple[str, str] | None:
    """The two arms whose answers an effect subtracts, the first from whom; None for any other."""
    terms = parsed(effect)
    if not all(term.arm and term.metrics[0].startswith("vqa/") for term in terms):
        return None
    more = {term.arm for term in terms if term.weight > 0}
    less = {term.arm for term in terms if term.weight < 0}
    return (str(*more), str(*less)) if len(more) == len(less) == 1 else None


def told(found: Found, params: Any, wanted: list[tuple[str, str]]) -> list[dict[str, Any]]:
    """For each pair and base how many questions either alone has right, and some with pictures.

    Counts are over all seeds that both have; pictures are of the first, kind by kind, in the order
    that the questions were asked in.
    """
    return [
        one
        for pair in wanted
        for base in params.bases
        if (one := _pair(found, params, base, *pair)) is not None
    ]


def _pair(found: Found, params: Any, base: str, arm: str, other: str) -> dict[str, Any] | None:
    counts, shown = {}, {"gained": [], "lost": []}
    for seed in seeds_of(params, arm):
        places = [found.folders.get(("vqa", base, a, seed)) for a in (arm, other)]
        if None in places:
            continue
        try:
            answers = {
                a: samples.answers(p) for a, p in zip((arm, other), places, strict=True) if p
            }
        except (OSError, ValueError, KeyError):
            continue
        scores = pd.DataFrame({a: table["lenient"] for a, table in answers.items()}).dropna()
        right = scores > 0.5
        sides = {
            "gained": right.index[right[arm] & ~right[other]],
            "lost": right.index[~right[arm] & right[other]],
        }
        counts[seed] = {"questions": len(right)} | {k: len(v) for k, v in sides.items()}
        if len(counts) == 1:
            shown = {k: _shown(found, seed, answers, v) for k, v in sides.items()}
    if not counts:
        return None
    return {"arm": arm, "other": other, "base": base, "seeds": counts} | shown


def _shown(
    found: Found, seed: int, answers: dict[str, pd.DataFrame], items: pd.Index
) -> list[dict[str, Any]]:
    questions = found.folders.get(("items", None, None, seed))
    if questions is None:
        return []
    try:
        asked = pd.read_parquet(questions / "vqa.parquet").set_index("item")
        images = np.load(questions / "vqa_images.npy", mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError):
        return []
    there = asked.loc[[item for item in items if item in asked.index]]
    kinds = [list(rows.index) for _, rows in there.groupby("kind")]
    turns = [item for turn in zip_longest(*kinds) for item in turn if item is not None]
    return [samples.sample(asked.loc[i], i, seed, answers, images) for i in turns[:SHOWN]]
