"""What is known of each judged question, and which of it a feature's activation tells.

A label is a yes or no for some of the questions: their kind, the answer among those of one kind,
how they are put, what the picture shows and what the question names. A feature tells it as well as
its largest activation ranks those with it above those without (AUROC over questions; the unit is
the scene). The labels shown for a feature are chosen on one half of the scenes and reported on the
other: the best of a hundred labels is a good one by luck otherwise.
"""

import json
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import rankdata

LEAST = 5  # questions with a label, and without it, in each half


class Label(NamedTuple):
    """Its name; the questions that it is known of, bool [N]; those that have it, bool [N]."""

    name: str
    rows: np.ndarray
    true: np.ndarray


def labels(table: pd.DataFrame) -> list[Label]:
    """All labels of judged questions (a table of items); no two alike."""
    found: dict[tuple[bytes, bytes], Label] = {}
    for label in _labels(table):
        found.setdefault((label.rows.tobytes(), (label.true & label.rows).tobytes()), label)
    return list(found.values())


def _labels(table: pd.DataFrame) -> Iterator[Label]:
    every = np.ones(len(table), bool)
    for column in ("kind", "form", "style"):
        for value in sorted(set(table[column])):
            yield Label(f"{column}: {value}", every, (table[column] == value).to_numpy())
    for kind in sorted(set(table["kind"])):
        among = (table["kind"] == kind).to_numpy()
        for value in sorted(set(table.loc[among, "value"])):
            name = f"answer: {value} (of {kind} questions)"
            yield Label(name, among, (table["value"] == value).to_numpy())
    if "truth" not in table:
        return
    truths = [json.loads(text) for text in table["truth"]]
    shown = [{w for name, _ in truth["things"] for w in name.split()} for truth in truths]
    places = [{place for _, place in truth["things"]} for truth in truths]
    named = [{w for phrase in truth["about"] for w in phrase.split()} for truth in truths]
    for title, sets in (("shown", shown), ("something at", places), ("asked about", named)):
        for word in sorted(set().union(*sets)):
            yield Label(f"{title}: {word}", every, np.array([word in some for some in sets]))


def auroc(values: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Chance that a question with the label has the larger value, ties half; of [n, f], [f]."""
    positive = int(true.sum())
    ranks = rankdata(values, axis=0)[true].sum(0)
    return (ranks - positive * (positive + 1) / 2) / (positive * (len(true) - positive))


def chance(positive: int, negative: int) -> float:
    """Half the width of the interval that holds 95 % of the AUROCs of unrelated values.

    By the Mann-Whitney statistic's variance without ties; with ties it is narrower.
    """
    return 1.96 * float(np.sqrt((positive + negative + 1) / (12 * positive * negative)))


def best(table: pd.DataFrame, seen: np.ndarray, image: np.ndarray, few: int) -> pd.DataFrame:
    """The `few` labels that each feature tells best: a row a feature's number and label.

    seen, image: largest activation on image and question, and on the image alone [N, f]. Columns:
    number, label, select (what it was chosen by: how far its AUROC is above one half, in units of
    `chance`), auroc and auroc_image (on the other half), positive and negative (questions there),
    chance. Labels with fewer than LEAST of either in a half are left out.
    """
    half = pd.factorize(table["scene"])[0] % 2 == 1
    rows = []
    for order, label in enumerate(labels(table)):
        cuts = [label.rows & ~half, label.rows & half]
        counts = [(int(label.true[cut].sum()), int((~label.true[cut]).sum())) for cut in cuts]
        if min(map(min, counts)) < LEAST:
            continue
        select, report = (auroc(seen[cut], label.true[cut]) for cut in cuts)
        select = (select - 0.5) / chance(*counts[0])
        alone = auroc(image[cuts[1]], label.true[cuts[1]])
        for number in range(seen.shape[1]):
            figures = (select[number], report[number], alone[number])
            rows.append((number, order, label.name, *figures, *counts[1], chance(*counts[1])))
    columns = "number order label select auroc auroc_image positive negative chance".split()
    found = pd.DataFrame(rows, columns=columns)
    found = found.sort_values(["number", "select", "order"], ascending=[True, False, True])
    return found.groupby("number").head(few).drop(columns="order").reset_index(drop=True)
