"""What the features of one site come to: a table of features and concepts, and figures over it.

Filled in step by step as models are read (`spatial.run`); each step adds columns, figures, or an
entry of why there is no figure.
"""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from scipy.stats import false_discovery_control, norm

from steps.data.speech import RELATIONS
from steps.diff.relations import HALVES
from steps.diff.space import concepts, follows
from steps.diff.space.concepts import Halves

FEW = 5  # features, or pairs of feature and relation, below which a mean over them says nothing
SHOWN = 5  # features of each relation that are followed up though they may not pass
READ = "question"
"""Of pooled.WAYS, the one by which features are chosen: the largest code of the question's tokens.
A sparse feature fires where the model looks something up, which is at no fixed place, and may be
over by the last token; that one (`auroc_last`) is a second reading, not a second choice."""


@dataclass
class Site:
    """One site's living features (numbers [a] in the dictionary), their codes and what was found.

    table: a row a feature and concept (`concepts.table`), in that order: concepts whole, one after
    the other. half, relation [N]: the scenes'. labels: of the concepts that can be tested.
    """

    features: np.ndarray
    rate: np.ndarray
    half: np.ndarray
    relation: np.ndarray
    labels: dict[str, np.ndarray]
    halves: Halves
    table: pd.DataFrame
    metrics: dict[str, float] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    @property
    def relations(self) -> dict[str, np.ndarray]:
        """Labels of the four relations, as far as they can be tested."""
        return {name: label for name, label in self.labels.items() if name in RELATIONS}

    def rows(self, relation: str = "") -> pd.DataFrame:
        """Rows of relations (no axes), or of one."""
        return self.table[self.table["relation"].isin([relation] if relation else RELATIONS)]

    def chosen(self, relation: str = "") -> pd.DataFrame:
        """Those that passed either test on the half that selects."""
        rows = self.rows(relation)
        return rows[rows["selected"]]

    def shown(self) -> pd.DataFrame:
        """Rows of each relation's SHOWN best features on the half that selects."""
        ordered = self.rows().sort_values("auroc_select", ascending=False, kind="stable")
        return ordered.groupby("relation").head(SHOWN)

    def add(self, names: dict[str, np.ndarray]) -> None:
        """Columns [a] that are the same for each concept."""
        for name, values in names.items():
            self.table[name] = np.tile(values, len(self.labels))


def start(read: dict[str, np.ndarray], table: pd.DataFrame) -> tuple[Site | None, dict[str, str]]:
    """A site from pooled codes [N, f] of its scenes; None, with why, where too few can be tested.

    read: by pooled.WAYS, READ and `last`. table: of relations.Related.
    """
    half, relation = table["half"].to_numpy(), table["relation"].to_numpy()
    every = concepts.relation_labels(table)
    labels = concepts.testable(every, half)
    least = concepts.LEAST
    missing = {name: f"fewer than {least} scenes in a half" for name in every if name not in labels}
    alive = concepts.alive(read[READ], half)
    if alive.sum() < FEW or not set(labels) & set(RELATIONS):
        missing["features"] = f"{alive.sum()} features fire on {least} scenes of a half"
        return None, missing
    codes = read[READ][:, alive]
    halves = Halves(codes, half)
    rows = concepts.table(halves, labels)
    site = Site(
        np.flatnonzero(alive), (codes > 0).mean(0), half, relation, labels, halves, rows,
        missing=missing,
    )  # fmt: skip
    site.add({"feature": site.features, "rate": site.rate})
    _, last = Halves(read["last"][:, alive], half).auroc(np.stack(list(labels.values())))
    rows["auroc_last"] = last.ravel()
    attributes = concepts.testable(concepts.attribute_labels(table), half)
    if attributes:
        name, value = concepts.strongest(halves, attributes)
        site.add({"attribute": name, "attribute_auroc": value})
    else:
        site.missing["attributes"] = f"none has {least} scenes in each half"
        site.add({"attribute": np.full(len(site.rate), ""), "attribute_auroc": site.rate * np.nan})
    return site, missing


def select(site: Site, cells: follows.Cells, alpha: float) -> None:
    """Choose features on the half that selects, by AUROC or by what turns within scenes.

    Each test has half of alpha, so that of all that are chosen no more than alpha are expected to
    be chance; of axes, which have AUROC alone, too.
    """
    table = site.table
    table["paired_t"] = table["paired_t_report"] = np.nan
    for name in site.relations:
        parts = follows.paired(cells, site.relation, site.half, name)
        here = table["relation"] == name
        table.loc[here, "paired_t"], table.loc[here, "paired_t_report"] = (
            part.sum(0) for part in parts
        )
    there = table["paired_t"].notna()
    table["paired_q"] = 1.0
    p = norm.sf(table.loc[there, "paired_t"].to_numpy())
    table.loc[there, "paired_q"] = false_discovery_control(p)
    table["by_auroc"], table["by_pairs"] = (table[q] <= alpha / 2 for q in ("q", "paired_q"))
    table["selected"] = table["by_auroc"] | table["by_pairs"]


def follow(site: Site, cells: follows.Cells, rng: np.random.Generator) -> None:
    """Figures of `follows` for features chosen or shown, on the half that reports."""
    report = site.half == HALVES[1]
    rows = site.rows()
    rows = rows[rows["selected"] | rows.index.isin(site.shown().index)]
    parts = []
    for relation, some in rows.groupby("relation", sort=False):
        own = {name: values[report][:, some["place"]] for name, values in cells.items()}
        found = follows.effects(own, site.relation[report], str(relation), rng)
        parts.append(found.set_index(some.index))
    found = pd.concat(parts)
    site.table[found.columns] = found.reindex(site.table.index)
    site.table["kind"] = site.table["kind"].fillna("")
