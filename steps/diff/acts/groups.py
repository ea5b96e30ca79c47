"""Features removed together: do a few do what one alone does not, and more than any few others?"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from torch import Tensor

from steps.diff.acts import edits, foils
from steps.diff.acts.behind import Edit
from steps.diff.acts.outcomes import interval
from steps.diff.acts.removal import Drops

FORMS = ("project", "subtract")
DRAWS = 20
"""Groups of foils of each size."""
NEAR = 20
"""Nearest matched foils of each member that groups of foils are drawn from."""


def planned(
    ranked: Sequence[int], sizes: Sequence[int], seen: foils.Profile, decoder: Tensor, seed: int
) -> list[Edit]:
    """Edits of roles group (name: its size) and group foil (name: number of the draw, from 0).

    ranked: the features, best first; sizes beyond their number are left out.
    """
    found = []
    for size in sorted(n for n in set(sizes) if n <= len(ranked)):
        members = list(ranked[:size])
        near = [foils.matched(seen, f, NEAR, members) for f in members]
        drawn = foils.group(near, DRAWS, np.random.default_rng([seed, 37, size]))
        for form in FORMS:
            found.append(edits.removal("group", size, form, decoder, members))
            found += [
                edits.removal("group foil", number, form, decoder, group)
                for number, group in enumerate(drawn)
            ]
    return found


def table(
    planned: Sequence[Edit],
    drops: np.ndarray,
    elsewhere: Drops,
    counts: np.ndarray,
    selected: int,
) -> pd.DataFrame:
    """One row a size and form: size, form, selected, drop, drop_low, drop_high, elsewhere, ...

    drops [E, N]: of the true answer's margin on questions about relations under each edit;
    elsewhere: on questions of other kinds. selected: how many of the features ranked first the
    spatial stage selected; of each group, as many are told. draws: groups of foils, foils_drop
    their mean, quantile and p of the drop among them.
    """
    found = []
    for number, edit in enumerate(planned):
        if edit.role != "group":
            continue
        size, form = edit.name, edit.form
        drop, rivals = (
            drops[number],
            [
                drops[i].mean()
                for i, other in enumerate(planned)
                if (other.role, other.amount, other.form) == ("group foil", size, form)
            ],
        )
        low, high = interval(counts @ drop / len(drop))
        among, p = foils.quantile(float(drop.mean()), np.array(rivals))
        row = {"size": size, "form": form, "selected": min(size, selected)}
        row |= {"drop": drop.mean(), "drop_low": low, "drop_high": high}
        row |= {"elsewhere": elsewhere["group", size, form].mean()}
        row |= {"draws": len(rivals), "foils_drop": np.mean(rivals) if rivals else np.nan}
        found.append(row | {"quantile": among, "p": p})
    return pd.DataFrame(found)
