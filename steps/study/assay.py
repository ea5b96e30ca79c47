"""Assay sensitivity: what could these instruments have seen at all?

Arms of the first seed alone are controls whose effect is known beforehand: an eye that is told what
there is to see, answers learnt on other questions' images, a tower that is not trained. An
instrument that does not tell the first of them from the base may not say of any arm that there was
nothing to see. The yardstick is the noise of seeds: the spread of the other arms' differences.
"""

from typing import Any

from steps.study import stats
from steps.study.tables import everywhere, gaps


def told(groups: list[dict[str, Any]], params: Any) -> list[dict[str, Any]]:
    """A row for each metric: every control's difference to the base, and what noise could give.

    groups: the tables of a base. limit: a single new difference lies within it with the report's
    confidence if the control does nothing, t(df) x sd, where sd is the spread over seeds of (arm -
    base), pooled over the arms of all seeds and df its degrees of freedom; None without any.
    """
    wide = everywhere(params)
    controls = [arm for arm in params.arms if arm not in wide]
    if not controls:
        return []
    rows = []
    for row in (row for group in groups for row in group["rows"] if not row["inner"]):
        apart = gaps(row)
        found = {arm: apart[arm][0] for arm in controls if apart.get(arm)}
        if found:
            limit = _limit([apart[arm] for arm in wide if arm in apart], params.report.confidence)
            rows.append(
                {
                    "metric": row["metric"],
                    "label": row["label"],
                    "limit": limit,
                    "arms": {
                        arm: {"difference": d, "seen": None if limit is None else abs(d) > limit}
                        for arm, d in found.items()
                    },
                }
            )
    return rows


def _limit(gaps: list[list[float]], confidence: float) -> float | None:
    sd, freedom = stats.pooled(gaps), sum(len(g) - 1 for g in gaps if g)
    return None if sd is None else stats.limit(confidence, freedom) * sd


def blind(rows: list[dict[str, Any]], params: Any) -> list[str]:
    """Labels of the instruments that do not see an eye that was told what there is to see."""
    sighted = [arm for arm in params.arms if params.arms[arm].overrides.get("patch_loss")]
    return [
        row["label"]
        for row in rows
        if any(row["arms"].get(arm, {}).get("seen") is False for arm in sighted)
    ]
