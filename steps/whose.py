"""Whose the rows of a table are: every table that a stage writes of its items begins with it."""

from typing import Any

WHO = ("study", "base", "arm", "seed")


def signed(rows: Any, run: Any) -> Any:
    """A pandas DataFrame with the columns WHO of a `params.run` put first, in place; returns it."""
    for at, name in enumerate(WHO):
        rows.insert(at, name, getattr(run, name))
    return rows
