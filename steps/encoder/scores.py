"""Tables at both ends of a probe: labels in, scored items (`items.parquet`) out."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from steps.stage import StageError
from steps.whose import WHO

COLUMNS = [*WHO, "instrument", "item", "raw", "strict", "lenient"]


def table(run: Any, instrument: str, item: Any, raw: Any, score: Any, **extra: Any) -> pd.DataFrame:
    """Rows of one instrument: items' ids, raw answers and scores in [0, 1], plus extra columns.

    A probe has no answer format to miss: strict and lenient are the same score.
    """
    score = pd.Series(score, dtype="float64")
    where = {"study": run.study, "base": run.base, "arm": run.arm, "seed": run.seed}
    columns = {"item": item, "raw": raw, "strict": score, "lenient": score, **extra}
    return pd.DataFrame({**where, "instrument": instrument, **columns})


def write(tables: list[pd.DataFrame], out: Path) -> None:
    """Write the rows of all instruments to `items.parquet` in `out`."""
    rows = pd.concat(tables, ignore_index=True)
    extra = [c for c in rows.columns if c not in COLUMNS]
    rows[COLUMNS + extra].to_parquet(out / "items.parquet", index=False)


def open_set(
    features: Callable[[str], np.ndarray], probes: Path, name: str, columns: list[str]
) -> tuple[np.ndarray, pd.DataFrame]:
    """Features float64 [N, D] and table of a probe set, checked against each other."""
    rows = pd.read_parquet(probes / f"{name}.parquet")
    missing = [c for c in columns if c not in rows]
    if missing:
        raise StageError(
            f"{probes / name}.parquet lacks the columns {missing}; it has {list(rows.columns)}: "
            "name them in probes.json as they are, or run the stage `probes` again"
        )
    x = np.asarray(features(name), dtype=np.float64)
    if len(x) != len(rows) or not len(x):
        raise StageError(
            f"{name}: {len(x)} images for {len(rows)} rows of labels; "
            "both must be equal and not zero: run `probes` and `features` again"
        )
    return x, rows


def ids(rows: pd.DataFrame, name: str) -> np.ndarray:
    """Items' ids: the table's own, or the set's name and the row."""
    if "item" in rows:
        return rows["item"].astype(str).to_numpy()
    return np.array([f"{name}-{i}" for i in rows.index])
