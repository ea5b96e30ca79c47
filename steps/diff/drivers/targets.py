"""What heads are judged by: how far a feature is driven, and how far the answer.

A feature's target is T = <e_j, x> at the token from which the answer is read, with e_j the column
of the encoder: the pre-activation up to its constant. It is what decides whether the feature fires,
it is linear in the stream, and it has a slope where the feature is silent; the code behind the gate
has none there, so that attribution would see nothing but firing features. (The VLM paper takes the
decoder row instead, which also reads neighbours that point the same way.) The behavioural target is
the log-odds of the scene's true relation over the other three.

Every effect is turned so that plus means *towards the feature's relation* (or the true answer), and
a feature's is measured in standard deviations of its target over scenes.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from steps.data.speech import RELATIONS
from steps.diff import reading
from steps.diff.drivers.pairs import LEVEL
from steps.diff.reading import Asked, Read
from steps.diff.relations import OPPOSITE

NEAR = 8
"""How many of the features of the nearest firing rate one is drawn from."""


class Target(NamedTuple):
    """What T is.

    kind: margin, chosen or random. row: what T multiplies at `site` [d], and write: the
    decoder's row there, along which the feature is written; None for the margin.
    """

    kind: str
    site: str
    feature: int
    relation: str
    row: Tensor | None
    write: Tensor | None

    def deepest(self, layers: int) -> int:
        """The last layer whose heads can reach it: that of its own site, which does."""
        return layers - 1 if self.row is None else int(self.site.partition(".")[2])


MARGIN = Target("margin", "answer", -1, "", None, None)


def choose(spatial: pd.DataFrame, count: int) -> tuple[pd.DataFrame, bool]:
    """Up to `count` spatial features (site, feature, relation), and whether they were selected.

    Best first by AUROC on the half that is for choosing; each once, under its best relation. Where
    the spatial stage selected none, the best of all of them.
    """
    rows = spatial[spatial["relation"].isin(RELATIONS) & spatial["auroc_select"].notna()]
    some = rows[rows["selected"].astype(bool)]
    best = (rows if some.empty else some).sort_values(
        "auroc_select", ascending=False, kind="stable"
    )
    best = best.drop_duplicates(["site", "feature"]).head(count)
    return best[["site", "feature", "relation"]].reset_index(drop=True), not some.empty


def companions(
    picked: pd.DataFrame, rates: dict[str, np.ndarray], rng: np.random.Generator
) -> pd.DataFrame:
    """For each picked feature a living one that fires about as often, at the same site.

    rates: site to firing rates [f]. Drawn from the NEAR nearest by log rate, none twice; a feature
    for which none is left has no companion. A companion is judged by its partner's relation.
    """
    found = []
    taken = set(zip(picked["site"], picked["feature"], strict=True))
    for site, feature, relation in picked.itertuples(index=False):
        rate = np.log(rates[site].clip(1e-9))
        alive = [int(j) for j in np.flatnonzero(rates[site]) if (site, j) not in taken]
        alive.sort(key=lambda j, rate=rate, own=rate[feature]: abs(rate[j] - own))
        if alive:
            other = int(rng.choice(alive[:NEAR]))
            taken.add((site, other))
            found.append((site, other, relation))
    return pd.DataFrame(found, columns=list(picked.columns))


def rates(
    model: Any, processor: Any, some: Asked, dictionaries: dict[str, Any], batch: int
) -> dict[str, np.ndarray]:
    """Site to the share of question tokens on which each feature of its dictionary fires [f]."""
    fired: dict[str, Any] = dict.fromkeys(dictionaries, 0)
    for read in reading.read(model, processor, some, list(dictionaries), batch):
        asks = read.types == reading.QUESTION
        for site, dictionary in dictionaries.items():
            fired[site] += (dictionary.codes(read.seen[site][asks].cpu()) > 0).sum(0)
    tokens = int((some.types == reading.QUESTION).sum())
    return {site: np.asarray(count) / tokens for site, count in fired.items()}


def targets(features: pd.DataFrame, kind: str, dictionaries: dict[str, Any]) -> list[Target]:
    """Targets for rows of `choose` or `companions`."""
    found = []
    for site, j, relation in features.itertuples(index=False):
        weights = dictionaries[site].weights
        rows = weights["W_enc"][:, int(j)], weights["W_dec"][int(j)]
        found.append(Target(kind, site, int(j), relation, *rows))
    return found


def values(
    read: Read, aims: Sequence[Target], choices: Tensor, true: np.ndarray, at: Any = None
) -> Tensor:
    """T of each target and scene of a pass [T, B], in the pass's graph.

    choices: the relations' words (`reading.words`). true: of each scene, whatever is shown now.
    at: activations by site that take the place of those of the pass.
    """
    seen, found = read.seen | (at or {}), []
    scores = read.logits[:, choices.to(read.logits.device)]
    hit = torch.nn.functional.one_hot(torch.tensor(true), len(choices)).bool().to(scores.device)
    for aim in aims:
        if aim.row is None:
            others = scores.masked_fill(hit, -torch.inf).logsumexp(1)
            found.append(scores[hit] - others)
        else:
            x = seen[aim.site][:, -1]
            found.append(x @ aim.row.to(x))
    return torch.stack(found) if found else scores[:0].new_empty(0, len(scores))


def turns(aims: Sequence[Target], table: pd.DataFrame) -> np.ndarray:
    """+1 where a scene has the target's relation, -1 where its twin has, else NaN: [T, S].

    For the margin +1 at each scene that the mirror turns round.
    """
    relation = table["relation"].to_numpy()
    level = np.isin(relation, LEVEL)
    rows = [
        np.where(level, 1.0, np.nan)
        if aim.row is None
        else np.select(
            [relation == aim.relation, relation == OPPOSITE[aim.relation]], [1.0, -1.0], np.nan
        )
        for aim in aims
    ]
    return np.reshape(rows, (len(aims), len(table)))
