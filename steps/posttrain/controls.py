"""Control arms by their data: the same method, learning from something that it should not need.

If an arm's effect is left when its images belong to other questions, or when its rejected answers
do not belong to the question at all, then the effect is not what the answers taught.
"""

import numpy as np
import pandas as pd

from steps.stage import StageError


def others(count: int, seed: int) -> np.ndarray:
    """For each of `count` items another one, each once [count]. One item alone has itself."""
    circle = np.random.default_rng([seed, count]).permutation(count)
    found = np.empty(count, int)
    found[circle] = np.roll(circle, -1)
    return found


def images(items: pd.DataFrame, how: str, seed: int) -> pd.DataFrame:
    """Items with images of `how`: their `own`, or those of other items (`shuffled`)."""
    if how == "own":
        return items
    return items.assign(image=items["image"].to_numpy()[others(len(items), seed)])


def targets(items: pd.DataFrame, how: str) -> pd.DataFrame:
    """Items with what SFT learns: the `reference`, or a right answer `sampled` from the base.

    The second is rejection-sampling fine-tuning: RL's data with SFT's loss. Items for which the
    base drew no right answer leave; StageError if none is left.
    """
    if how == "reference":
        return items
    found = items[items["sampled"] != ""].reset_index(drop=True)
    if found.empty:
        raise StageError(
            "sft.targets = 'sampled': the base drew no right answer to any question: raise "
            "pairs.draws, or learn from the reference"
        )
    return found.assign(response=found["sampled"])


def rejected(items: pd.DataFrame, how: str, seed: int) -> list[str]:
    """Rejected answers of `how`, one an item, never the chosen one.

    `sampled`: the item's own. `shuffled`: another item's. `random`: as many words as the item's
    own, each drawn from all words of responses.
    """
    own, chosen = items["rejected"].tolist(), items["chosen"].tolist()
    if how == "sampled":
        return own
    rng = np.random.default_rng([seed, len(items), 1])
    if how == "shuffled":
        circle = np.resize(rng.permutation(len(items)), 2 * len(items)).tolist()
        place = {item: number for number, item in enumerate(circle[: len(items)])}
        return [
            next((own[j] for j in circle[place[i] + 1 :] if own[j] != chosen[i]), own[i])
            for i in range(len(items))
        ]
    words = sorted({word for text in chosen for word in text.split()})
    return [_drawn(rng, words, len(text.split()), avoid) for text, avoid in zip(own, chosen,
            strict=True)]  # fmt: skip


def _drawn(rng: np.random.Generator, words: list[str], count: int, avoid: str) -> str:
    while (text := " ".join(rng.choice(words, count))) == avoid:
        pass
    return text
