"""What a dictionary makes of activations, and how far its latents turned against a null."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from steps.diff import topk
from steps.stage import StageError

CHUNK = 4096  # tokens encoded at once
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
    """Sums over tokens, by token type: tokens [t], firings [t, f], energy = sum of z^2 [t, f]."""

    tokens: np.ndarray
    firings: np.ndarray
    energy: np.ndarray

    @property
    def rate(self) -> np.ndarray:
        """Share of all tokens on which each latent fires [f]."""
        return self.firings.sum(0) / self.tokens.sum()

    @property
    def alive(self) -> np.ndarray:
        """Which latents fire at least LEAST times [f]."""
        return self.firings.sum(0) >= LEAST

    @property
    def means(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean energy an image token, and a text token (all other types) [f]."""
        image = self.energy[0] / max(self.tokens[0], 1)
        return image, self.energy[1:].sum(0) / max(self.tokens[1:].sum(), 1)

    @property
    def visual(self) -> np.ndarray:
        """E_image / (E_image + E_text), E the mean energy a token [f]; NaN where both are 0.

        Type 0 is the image. Means, not sums: a prompt has many more image tokens than words.
        """
        image, text = self.means
        with np.errstate(invalid="ignore"):
            return image / (image + text)


@torch.inference_mode()
def activity(
    weights: topk.Weights, k: int, x: Tensor, types: np.ndarray, kinds: int
) -> tuple[Activity, Tensor]:
    """Activity of a dictionary on x [n, d] with types [n] (0 .. kinds - 1), and x^ [n, d]."""
    width = len(weights["b_enc"])
    sums = torch.zeros(2, kinds * width, dtype=torch.float64)
    parts = []
    for at in range(0, len(x), CHUNK):
        values, index = topk.encode(weights, x[at : at + CHUNK], k)
        parts.append(topk.decode(weights, values, index))
        kind = torch.as_tensor(types[at : at + CHUNK], dtype=torch.int64)[:, None]
        place = (kind * width + index).reshape(-1)
        each = values.reshape(-1).double()
        sums[0].index_add_(0, place, (each > 0).double())
        sums[1].index_add_(0, place, each.square())
    firings, energy = sums.view(2, kinds, width).numpy()
    return Activity(np.bincount(types, minlength=kinds), firings, energy), torch.cat(parts)


def cosines(one: topk.Weights, other: topk.Weights) -> np.ndarray:
    """Cosine of each latent's decoder row in two dictionaries [f]: 1 where it did not turn."""
    return torch.cosine_similarity(one["W_dec"], other["W_dec"], dim=1).double().numpy()


def excess(turned: np.ndarray, null: np.ndarray) -> np.ndarray:
    """Degrees by which each latent turned further than its own null turned it; from cosines.

    Both continuations saw the same tokens in the same order, so most of the drift cancels: also
    that of latents which drift a lot.
    """
    angles = [np.degrees(np.arccos(np.clip(cosine, -1, 1))) for cosine in (turned, null)]
    return angles[0] - angles[1]


def quantiles(turned: np.ndarray, null: np.ndarray) -> np.ndarray:
    """Share of the null's cosines that are at or below each of `turned`, counted with one extra.

    (1 + #{null <= turned}) / (1 + n): small where a latent turned further than drift explains.
    """
    return (1 + np.searchsorted(np.sort(null), turned, side="right")) / (1 + len(null))


def matched_quantiles(
    turned: np.ndarray, null: np.ndarray, rate: np.ndarray, neighbours: int = 200
) -> np.ndarray:
    """`quantiles` for each latent among the `neighbours` null latents that fire most alike.

    Rare latents drift further (Adam's steps do not shrink with the gradient), frequent ones less.
    """
    order = np.argsort(rate, kind="stable")
    window = min(neighbours, len(order))
    found = np.empty(len(order))
    for rank, latent in enumerate(order):
        low = min(max(rank - window // 2, 0), len(order) - window)
        alike = null[order[low : low + window]]
        found[latent] = (1 + np.count_nonzero(alike <= turned[latent])) / (1 + window)
    return found
