"""Dose and response: does adding a feature's direction raise the answer that it stands for?

Response: the log-odds of the feature's relation over the others, on scenes of all relations.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from steps.diff.acts import foils
from steps.diff.acts.outcomes import interval

Curves = Mapping[tuple[int, str], np.ndarray]
"""A feature's response toward a relation, by both: change on each question [doses, N]."""


def slopes(doses: np.ndarray, curve: np.ndarray) -> np.ndarray:
    """Least-squares slope of each question's response [doses, N] on the dose, [N]."""
    centred = doses - doses.mean()
    return centred @ curve / (centred @ centred)


def responses(
    chosen: pd.DataFrame,
    others: Sequence[int],
    doses: np.ndarray,
    curves: Curves,
    kind: np.ndarray,
    counts: np.ndarray,
) -> pd.DataFrame:
    """One row a chosen feature: feature, relation, slope, low, high, up, foils, quantile, p, ...

    others: features that are foils of all chosen ones. doses [D], ascending, 0 among them. slope:
    log-odds a typical activation, with its interval over questions [N] of `kind`. up: the share of
    steps from dose to dose that raise the mean response, 1 where it is monotone. quantile, p: of
    the slope among the foils'. plus and minus: change of the true margin on the feature's own
    scenes at the largest dose that was given with both signs; hurts_both: both lie below zero with
    their intervals, so that harm says nothing of the direction's sign.
    """
    both = [dose for dose in doses if dose > 0 and -dose in doses]
    found = []
    for feature, relation in zip(chosen["feature"], chosen["relation"], strict=True):
        curve = curves[feature, relation]
        each = slopes(doses, curve)
        rivals = [slopes(doses, curves[f, relation]).mean() for f in others]
        among, p = foils.quantile(float(each.mean()), np.array(rivals))
        low, high = interval(counts @ each / len(each))
        row = {"feature": feature, "relation": relation, "slope": each.mean()}
        row |= {"low": low, "high": high, "up": (np.diff(curve.mean(1)) > 0).mean()}
        row |= {"foils": len(rivals), "foils_slope": np.mean(rivals) if rivals else np.nan}
        row |= {"quantile": among, "p": p}
        if both:
            own, ends = kind == relation, []
            for name, dose in (("plus", both[-1]), ("minus", -both[-1])):
                change = curve[list(doses).index(dose)][own]
                row[name] = change.mean()
                ends.append(interval(counts[:, own] @ change / own.sum())[1])
            row["hurts_both"] = max(ends) < 0
        found.append(row)
    return pd.DataFrame(found)


def toward(
    features: pd.DataFrame, doses: np.ndarray, curves: Curves, counts: np.ndarray
) -> pd.DataFrame:
    """The curves as rows of the table of effects, one a feature and dose but 0.

    features: role, feature and relation.
    """
    found = []
    for role, feature, relation in features[["role", "feature", "relation"]].itertuples(
        index=False, name=None
    ):
        for dose, change in zip(doses, curves[feature, relation], strict=True):
            if dose == 0:
                continue
            low, high = interval(counts @ change / len(change))
            row = {"role": role, "name": feature, "form": "add", "amount": dose}
            row |= {"asked": f"toward {relation}", "items": len(change)}
            found.append(row | {"change": change.mean(), "low": low, "high": high})
    return pd.DataFrame(found)
