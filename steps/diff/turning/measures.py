"""What a dictionary makes of activations: reconstruction, firing, energy, and latents' cosines."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from steps.stage import StageError

NUMBERS = 1 << 23  # codes held at once: 32 MB
LEAST = 10  # firings below which a latent counts as dead


def fvu(x: Tensor, reconstruction: Tensor, valid: Tensor | None = None) -> float:
    """Fraction of variance unexplained: sum ||x - x^||^2 / sum ||x - mean x||^2, in float64.

    Both sums and the mean run over the *valid* tokens only: x, x^ [..., tokens, d], valid bool
    [..., tokens]. (A mean over padding too makes the figure several times too small.) Raises
    StageError where x does not vary.
    """
    if valid is not None:
        x, reconstruction = x[valid], reconstruction[valid]
    x = x.reshape(-1, x.shape[-1]).double()
    rest = x - reconstruction.reshape(x.shape).double()
    total = (x - x.mean(0)).square().sum()
    if not total > 0:
        raise StageError(f"the {len(x)} valid tokens do not vary: their FVU is not defined")
    return float(rest.square().sum() / total)


@dataclass
class Activity:
    """Sums over tokens, by token type: tokens [t], firings [t, f], energy = sum of z^2 [t, f].

    groups: energy and number of tokens of each group of tokens, float32 [g, f] and [g].
    """

    tokens: np.ndarray
    firings: np.ndarray
    energy: np.ndarray
    groups: tuple[np.ndarray, np.ndarray]

    @property
    def rate(self) -> np.ndarray:
        """Share of all tokens on which each latent fires [f]."""
        return self.firings.sum(0) / self.tokens.sum()

    @property
    def alive(self) -> np.ndarray:
        """Which latents fire at least LEAST times [f]."""
        return self.firings.sum(0) >= LEAST

    @property
    def mean(self) -> np.ndarray:
        """Mean energy a token of any type [f]."""
        return self.energy.sum(0) / self.tokens.sum()


@torch.inference_mode()
def activity(
    dictionary: Any, x: Tensor, types: np.ndarray, kinds: int, groups: np.ndarray
) -> tuple[Activity, Tensor]:
    """Activity of a dictionary on x [n, d], and x^ [n, d].

    types [n]: 0 .. kinds - 1. groups [n]: a number from 0 for each token, -1 for those in none.
    """
    rows = dictionary.weights["W_dec"]
    device, width = rows.device, len(rows)
    sums = rows.new_zeros(2, kinds, width, dtype=torch.float64)  # firings, energy
    grouped = rows.new_zeros(int(groups.max(initial=-1)) + 2, width)  # the last row: in no group
    which, kind = (torch.as_tensor(of, dtype=torch.int64, device=device) for of in (groups, types))
    parts = []
    for some in chunks(len(x), width):
        z = dictionary.codes(x[some].to(device))
        parts.append(dictionary.decode(z).to(x.device))
        square = z.square()
        of_type = torch.nn.functional.one_hot(kind[some], kinds).to(z).T
        sums[0] += of_type @ (z > 0).to(z)
        sums[1] += of_type @ square
        grouped.index_add_(0, which[some] % len(grouped), square)
    firings, energy = sums.cpu().numpy()
    counts = np.bincount(groups[groups >= 0], minlength=len(grouped) - 1)
    return Activity(
        np.bincount(types, minlength=kinds),
        firings,
        energy,
        (grouped[:-1].cpu().numpy(), counts),
    ), torch.cat(parts)


def chunks(count: int, width: int) -> list[slice]:
    """Slices of `count` tokens, each with at most NUMBERS codes of `width`."""
    step = max(NUMBERS // width, 1)
    return [slice(at, at + step) for at in range(0, count, step)]


def cosines(one: Tensor, other: Tensor) -> np.ndarray:
    """Cosine of each latent's decoder rows [f, d] in two dictionaries [f]: 1 where equal."""
    return torch.cosine_similarity(one.double(), other.double(), dim=1).cpu().numpy()
