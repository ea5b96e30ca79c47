"""Does a feature follow the image or the words? Each is changed while the other stays.

On scenes of a relation r and of its opposite, sign c = +1 where r holds and -1 where not, each
scene is read in four ways: image or its mirror image, names as they are or exchanged. Either
change turns left and right round, both together turn nothing. With z the value of a feature,

    mirrored  = mean c (z - z_mirrored)                      the image changes, no word does
    exchanged = mean c (z - z_exchanged)                     words change, no pixel does
    truth T   = ((z + z_both) - (z_mirrored + z_exchanged)) / 2
    image I   = ((z + z_exchanged) - (z_mirrored + z_both)) / 2
    words W   = ((z + z_mirrored) - (z_exchanged + z_both)) / 2
    follows   = mean c T / (mean |T| + mean |I| + mean |W|)

A feature of the true relation changes with both and has follows = 1. One that reads words has W
alone, one of the image's layout (something red on the left) has I alone: both have follows = 0,
and one that says the opposite has -1. With above and below a mirror turns nothing round: there
`mirrored` is a control that should be 0, and T, I and W are not told apart.

Within each scene all else is equal, so that c T (with above and below c W: words alone turn them
round) finds weaker features than AUROC does between scenes (`paired`). No feature of words alone
passes either, as c has nothing to do with which object is named first.

In a statement (question and answer), read at the answer, the word may be r or its opposite and
either may be true:

    word      = mean over scenes, half the effect of the word r against its opposite ...
    stated    = ... and of a true word against a false one: the interaction of word and image
    statement = AUROC of true against false among statements with the word r alone

A lexical feature has a large `word` and a `statement` of .5; below .5 it is *inverted*. Effects are
in standard deviations over scenes. The unit of all intervals is the scene.
"""

import numpy as np
import pandas as pd

from steps.diff.relations import HALVES, MIRROR, OPPOSITE
from steps.diff.space.auroc import auroc, ranks

DRAWS = 500  # of each bootstrap
Cells = dict[str, np.ndarray]
"""Values [n, f]: plain, mirrored, exchanged, both (the question's tokens); true, false (answer)."""
KINDS = ("relation", "image", "words")
"""What a feature follows: the relation if mirror and exchange both turn it round (intervals above
0), else that of image and words, each by itself, which moves it more."""


def effects(
    cells: Cells, relation: np.ndarray, concept: str, rng: np.random.Generator
) -> pd.DataFrame:
    """All figures of the head for features [f] of relation `concept`, one row each.

    relation [n]: the scenes' true answers; scenes of other relations than the concept and its
    opposite serve as control alone. Each mean has `_low` and `_high`, the ends of its 95 % interval
    over scenes (of each of the two relations by itself). moved and moved_control: how far the
    mirror moves a feature either way, on these scenes and on those of the other axis. kind: of
    KINDS; empty where a mirror turns nothing round.
    """
    own = np.isin(relation, (concept, OPPOSITE[concept]))
    c = np.where(relation[own] == concept, 1.0, -1.0)[:, None]
    spread = _spread(cells["plain"])
    z = {name: cells[name][own] / spread for name in ("plain", "mirrored", "exchanged", "both")}
    word = np.stack([cells[name][own] for name in ("true", "false")])
    true, false = word / _spread(word.reshape(-1, word.shape[-1]))
    turns = MIRROR[concept] != concept
    truth, image, words = contrasts(z)
    sums = {
        "mirrored": c * (z["plain"] - z["mirrored"]),
        "exchanged": c * (z["plain"] - z["exchanged"]),
        "word": c * (true - false) / 2,
        "stated": (true - false) / 2,
    }
    if turns:
        sums |= {"truth": c * truth, "any": np.abs(truth) + np.abs(image) + np.abs(words)}
    weights = np.concatenate([np.full((1, len(c)), 1.0), _resampled(c[:, 0], rng)]) / len(c)
    means = {name: weights @ value for name, value in sums.items()}
    if turns:
        total = means.pop("any")
        means["follows"] = means.pop("truth") / np.where(total > 0, total, 1.0)
    found: dict[str, np.ndarray] = {}
    for name, (point, *drawn) in means.items():
        found[name] = point
        found[f"{name}_low"], found[f"{name}_high"] = np.quantile(drawn, [0.025, 0.975], axis=0)
    moved = np.abs(cells["plain"] - cells["mirrored"]) / spread
    found["moved"] = moved[own].mean(0)
    if not own.all():
        found["moved_control"] = moved[~own].mean(0)
    held = c[:, 0] > 0
    same = np.where(held[:, None], cells["true"][own], cells["false"][own])  # the word is `concept`
    found["statement"] = auroc(ranks(same), held[None])[0]
    frame = pd.DataFrame(found)
    both = (frame["mirrored_low"] > 0) & (frame["exchanged_low"] > 0)
    either = np.where(np.abs(image).mean(0) > np.abs(words).mean(0), KINDS[1], KINDS[2])
    frame["kind"] = np.where(both, KINDS[0], either) if turns else ""
    return frame


def contrasts(z: Cells) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """T, I and W of the head, each [n, f]."""
    truth = ((z["plain"] + z["both"]) - (z["mirrored"] + z["exchanged"])) / 2
    image = ((z["plain"] + z["exchanged"]) - (z["mirrored"] + z["both"])) / 2
    words = ((z["plain"] + z["mirrored"]) - (z["exchanged"] + z["both"])) / 2
    return truth, image, words


def paired(cells: Cells, relation: np.ndarray, half: np.ndarray, concept: str) -> list[np.ndarray]:
    """The contrast that turns towards `concept` on scenes of it and its opposite, by half [n, f].

    Each column scaled so that its sum is a t against 0: the mean over its standard error without
    the relation. Columns of features that never change are 0.
    """
    own = np.isin(relation, (concept, OPPOSITE[concept]))
    parts = []
    for name in HALVES:
        some = own & (half == name)
        c = np.where(relation[some] == concept, 1.0, -1.0)[:, None]
        truth, _, words = contrasts({way: values[some] for way, values in cells.items()})
        turn = c * (truth if MIRROR[concept] != concept else words)
        size = np.sqrt(np.square(turn).sum(0))
        parts.append(turn / np.where(size > 0, size, 1.0))
    return parts


def agreement(parts: list[np.ndarray], draws: int, rng: np.random.Generator) -> tuple[float, float]:
    """Correlation over features of the t's of both halves (`paired`), and its p.

    Whether features tell the relation at all, be each ever so weak. p by turning signs of scenes,
    all of a scene's features alike, as if no contrast had anything to do with the relation.
    """
    alive = np.logical_and.reduce([np.abs(part).sum(0) > 0 for part in parts])
    if alive.sum() < 3:
        return 0.0, 1.0
    parts = [part[:, alive] for part in parts]
    flips = [
        np.concatenate([np.ones((1, len(part))), rng.choice([-1.0, 1.0], (draws, len(part)))])
        for part in parts
    ]
    one, other = (flip @ part for flip, part in zip(flips, parts, strict=True))
    one, other = (t - t.mean(1, keepdims=True) for t in (one, other))
    found = (one * other).sum(1) / np.sqrt(np.square(one).sum(1) * np.square(other).sum(1))
    return float(found[0]), float((1 + (found[1:] >= found[0]).sum()) / (1 + draws))


def _spread(values: np.ndarray) -> np.ndarray:
    """Standard deviation over scenes [f]; 1 where a feature never varies, so that effects are 0."""
    spread = values.std(0)
    return np.where(spread > 0, spread, 1.0)


def _resampled(sign: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """How often each draw has each scene [DRAWS, n]; as many of either sign as there are."""
    counts = np.zeros((DRAWS, len(sign)))
    for rows in (np.flatnonzero(sign > 0), np.flatnonzero(sign < 0)):
        counts[:, rows] = rng.multinomial(len(rows), np.full(len(rows), 1 / len(rows)), DRAWS)
    return counts
