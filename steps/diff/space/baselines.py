"""Cheap directions beside single features: do they tell a relation as well?

All read the site itself, not a dictionary's code of it, at the question's last token and as the
mean of its tokens. `difference_mean` and `difference_pca` know only what tuning changed
(compare's lens.safetensors; the activation difference lens, arXiv 2510.13900); `class_means`, the
difference of class means, and `ceiling`, a logistic regression on both readings together, are told
the relations of the half that selects. Scored like features: what is chosen, sign
included, is chosen on one half and reported on the other.
"""

import warnings

import numpy as np

from steps.diff.relations import HALVES
from steps.diff.space.auroc import auroc, ranks
from steps.diff.space.concepts import Halves

READINGS = ("last", "mean")
PENALTIES = tuple(10.0 ** np.arange(-5, 2))  # scikit-learn's C
FOLDS = 5


def scores(
    raw: dict[str, np.ndarray],
    labels: dict[str, np.ndarray],
    half: np.ndarray,
    lens: dict[str, np.ndarray],
) -> dict[str, dict[str, float]]:
    """AUROC on the half that reports, by method and relation.

    raw: [N, d] by READINGS; labels bool [N]; half [N], of relations.HALVES; lens: directions [c, d]
    by method.
    """
    found: dict[str, dict[str, float]] = {}
    for name, directions in lens.items():
        columns = np.concatenate([raw[way] @ directions.T for way in READINGS], 1)
        found[name] = {concept: _best(columns, label, half) for concept, label in labels.items()}
    found["class_means"] = {}
    select = half == HALVES[0]
    for concept, label in labels.items():
        columns = []
        for way in READINGS:
            x, here = raw[way], label[select]
            columns.append(x @ (x[select][here].mean(0) - x[select][~here].mean(0)))
        found["class_means"][concept] = _best(np.stack(columns, 1), label, half)
    found["ceiling"] = _ceiling(np.concatenate([raw[way] for way in READINGS], 1), labels, half)
    return found


def _best(columns: np.ndarray, label: np.ndarray, half: np.ndarray) -> float:
    """What the best of the columns [N, m], either way round, reports."""
    halves = Halves(columns, half)
    select, report = (part[0] for part in halves.auroc(label[None]))
    best = int(np.abs(select - 0.5).argmax())
    return float(report[best] if select[best] >= 0.5 else 1 - report[best])


def _ceiling(x: np.ndarray, labels: dict[str, np.ndarray], half: np.ndarray) -> dict[str, float]:
    """One multinomial regression of the relations, its penalty by folds of the half it sees."""
    from sklearn.linear_model import LogisticRegressionCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    every = np.stack(list(labels.values()))
    told = (half == HALVES[0]) & every.any(0)
    classes, report = every.argmax(0), half == HALVES[1]
    fit = LogisticRegressionCV(
        Cs=PENALTIES, cv=FOLDS, scoring="neg_log_loss", max_iter=200, random_state=0
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the weakest penalties may stop short: they lose
        model = make_pipeline(StandardScaler(), fit).fit(x[told], classes[told])
    value = auroc(ranks(model.predict_log_proba(x[report])), every[model.classes_][:, report])
    names = [list(labels)[i] for i in model.classes_]
    return {name: float(value[i, i]) for i, name in enumerate(names)}
