"""What edits did to the answers, question by question: margins, accuracy, and collapse.

The unit is the question, one a scene. Intervals are percentile bootstraps over questions, paired
(the same question edited and unedited), drawn within each kind.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch

from steps.diff import reading
from steps.diff.acts.behind import Answers, Edit, Questions

DRAWS = 1000
"""Bootstrap draws."""
SURE = (2.5, 97.5)
"""Ends of an interval, in percent."""
LEAST = 10
"""Questions below which a kind gets no figures."""
COLLAPSED = 0.8
"""Share of one answer from which a model counts as saying one word, where unedited it does not."""


def resampled(kind: np.ndarray, seed: int) -> np.ndarray:
    """How often each question [N] is drawn in each bootstrap draw, float64 [DRAWS, N]."""
    rng = np.random.default_rng([seed, 31])
    counts = np.zeros((DRAWS, len(kind)))
    for name in np.unique(kind):
        rows = np.flatnonzero(kind == name)
        counts[:, rows] = rng.multinomial(len(rows), np.full(len(rows), 1 / len(rows)), DRAWS)
    return counts


def interval(values: np.ndarray) -> tuple[float, float]:
    """Ends of the percentile interval of bootstrapped values."""
    low, high = np.percentile(values, SURE)
    return float(low), float(high)


def margins(answers: Answers, index: np.ndarray) -> np.ndarray:
    """Log-odds of the choices `index` [N] over the others, float64 [E, N] (`reading.margins`)."""
    edits, count, choices = answers.scores.shape
    flat = torch.from_numpy(answers.scores.reshape(-1, choices))
    odds = reading.margins(flat, torch.arange(choices), np.tile(index, edits))
    return odds.reshape(edits, count)


def subsets(kind: np.ndarray, together: str) -> dict[str, np.ndarray]:
    """Masks of the kinds with LEAST questions or more, and of all questions, under `together`."""
    found = {name: kind == name for name in np.unique(kind)}
    found = {name: mask for name, mask in found.items() if mask.sum() >= LEAST}
    return found | ({together: np.ones(len(kind), bool)} if len(kind) >= LEAST else {})


def effects(
    edits: Sequence[Edit],
    answers: Answers,
    some: Questions,
    counts: np.ndarray,
    together: str,
    tokenizer: Any,
) -> pd.DataFrame:
    """One row an edit and kind of question (and all of them, `together`).

    role, name, form, amount: the edit. asked, items. change, low, high: of the margin of the true
    answer. accuracy, balanced (mean recall of the true answers), commonest (share of the commonest
    answer), answer (which that is) and outside (share of questions whose likeliest word is none of
    the choices), each _before and _after. collapsed: the commonest answer is COLLAPSED of all
    answers or more, and was not before.
    """
    odds, tokens = margins(answers, some.true), some.choices.numpy()
    change = odds[1:] - odds[0]
    rows = np.arange(len(some))
    picked = tokens[rows, answers.scores.argmax(2)]
    right = picked == tokens[rows, some.true]
    truth = tokens[rows, some.true]
    said = {int(token): tokenizer.decode([int(token)]) for token in np.unique(tokens[tokens >= 0])}
    found = []
    for asked, mask in subsets(some.kind, together).items():
        drawn = counts[:, mask] @ change[:, mask].T / mask.sum()
        low, high = np.percentile(drawn, SURE, axis=0)
        facts = [
            _facts(picked[e, mask], right[e, mask], truth[mask], answers.outside[e, mask], said)
            for e in range(len(edits) + 1)
        ]
        for e, edit in enumerate(edits):
            row = {"role": edit.role, "name": edit.name, "form": edit.form, "amount": edit.amount}
            row |= {"asked": asked, "items": int(mask.sum())}
            row |= {"change": change[e, mask].mean(), "low": low[e], "high": high[e]}
            row |= {f"{key}_before": value for key, value in facts[0].items()}
            row |= {f"{key}_after": value for key, value in facts[e + 1].items()}
            found.append(row)
    table = pd.DataFrame(found)
    table["collapsed"] = (table["commonest_after"] >= COLLAPSED) & (
        table["commonest_before"] < COLLAPSED
    )
    return table


def _facts(
    picked: np.ndarray,
    right: np.ndarray,
    truth: np.ndarray,
    outside: np.ndarray,
    said: dict[int, str],
) -> dict[str, Any]:
    words, times = np.unique(picked, return_counts=True)
    return {
        "accuracy": right.mean(),
        "balanced": np.mean([right[truth == word].mean() for word in np.unique(truth)]),
        "commonest": times.max() / len(picked),
        "outside": outside.mean(),
        "answer": said[int(words[times.argmax()])],
    }
