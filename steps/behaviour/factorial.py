"""Effects of parts that are each there or not: a full factorial at two levels.

A table of outcomes has one axis of length 2 for each part (0: the base's, 1: the arm's) and a last
axis for questions, [2, ..., 2, N]. With signs x = -1 and +1 for 0 and 1, and one effect E for each
set S of parts, every cell is (Box, Hunter & Hunter 2005, Statistics for Experimenters, chapter 5)

    y(x) = mean + 1/2 sum_S E_S prod_(i in S) x_i

so that a main effect is the mean difference that a part makes over all settings of the others, an
interaction of two parts half of what the one changes about the other's effect, and so on. From the
cell of all zeros to the cell of all ones only odd sets change their sign: the whole gain is the sum
of main effects and of interactions of three parts; those of two cancel.

Shapley's (1953) value shares out the whole gain: what a part adds when it joins, mean over all
orders of joining. With three parts it is the main effect and a third of the interaction of all.
"""

from collections.abc import Sequence
from itertools import combinations, permutations

import numpy as np

RESAMPLES = 2000


def contrasts(table: np.ndarray) -> np.ndarray:
    """Effects of the same shape as `table` [2, ..., 2, N], by Yates's (1937) sums and differences.

    At a place with ones for the parts of a set S stands E_S; at the first, twice the mean.
    """
    parts = table.ndim - 1
    for axis in range(parts):
        low, high = (table.take(level, axis) for level in (0, 1))
        table = np.stack([low + high, high - low], axis)
    return table / 2 ** (parts - 1)


def shapley(table: np.ndarray) -> np.ndarray:
    """What each part adds, mean over all orders of joining, [parts, N]; sums to the whole gain."""
    parts = table.ndim - 1
    orders = list(permutations(range(parts)))
    added = np.zeros((parts, table.shape[-1]))
    for order in orders:
        cell = [0] * parts
        for part in order:
            before = table[tuple(cell)]
            cell[part] = 1
            added[part] += table[tuple(cell)] - before
    return added / len(orders)


def effects(table: np.ndarray, names: Sequence[str]) -> dict[str, np.ndarray]:
    """All effects of a table [2, ..., 2, N] question by question, each [N].

    total; main/<part>; interaction/<part>_<part>, in the order of `names`, and interaction/all;
    shapley/<part>. Raises ValueError where there are not as many axes as names.
    """
    count = len(names)
    if table.shape[:-1] != (2,) * count:
        raise ValueError(f"a table of shape {table.shape} is no factorial of {list(names)}")
    yates = contrasts(np.asarray(table, float))
    found = {"total": np.subtract(table[(1,) * count], table[(0,) * count], dtype=float)}
    for size in range(1, count + 1):
        for some in combinations(range(count), size):
            place = tuple(int(part in some) for part in range(count))
            said = "_".join(names[part] for part in some) if size < count else "all"
            found[f"{'main' if size == 1 else 'interaction'}/{said}"] = yates[place]
    for name, value in zip(names, shapley(table), strict=True):
        found[f"shapley/{name}"] = value
    return found


def errors(values: np.ndarray, owners: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Standard errors [E] of the means of values [E, N] over questions, by the bootstrap.

    owners [N]: what a question shares with others, as its image; these are drawn whole, with
    replacement (Davison & Hinkley 1997, Bootstrap Methods, section 3.8). Of one owner alone nothing
    can be told, and the error is 0.
    """
    _, at = np.unique(owners, return_inverse=True)
    sizes = np.bincount(at)
    sums = np.stack([np.bincount(at, row) for row in values])
    groups = len(sizes)
    drawn = rng.multinomial(groups, np.full(groups, 1 / groups), RESAMPLES).astype(float)
    return ((drawn @ sums.T) / (drawn @ sizes)[:, None]).std(0, ddof=1)
