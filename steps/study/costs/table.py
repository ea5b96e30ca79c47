"""Every stage's cost: a function from its case to its work. A stage without one fails a test."""

from collections.abc import Callable

from steps.study.costs import behaviour, data, diffing, encoder, models, training
from steps.study.costs.work import Case, Work

FILES = 0.03
"""Seconds that the page takes for a result that it reads."""


def report(case: Case) -> Work:
    """The page: a few seconds, and some for each result."""
    params = case.params
    results = len(params.bases) * len(params.arms) * len(params.seeds) * len(params.instruments)
    return Work(fixed=FILES * results, disk=5e6, start="page")


COSTS: dict[str, Callable[[Case], Work]] = {
    **data.COSTS,
    **models.COSTS,
    **training.COSTS,
    **encoder.COSTS,
    **behaviour.COSTS,
    **diffing.COSTS,
    "report": report,
}
PROCESSOR = {
    *("base", "hub", "trained", "items", "probes", "none", "classify", "segment", "cost"),
    *("logged", "planted", "stability", "report"),
}
"""Stages that ask for no GPU, as their rules have it (a test compares)."""
