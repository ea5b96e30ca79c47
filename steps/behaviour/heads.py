"""What each head of the language model looks at, and how far the looking rests on few heads.

Read in a pass over frozen answers, from queries and keys behind their rotation. A layer's whole
attention of a batch is held while that layer is read and then summed up, so memory follows
params.gaze.batch.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from steps.behaviour.cuts import sight
from steps.behaviour.frozen import Batch

FEW = 0.05
"""Share of the heads that SparseMM reports to hold nearly all of the score."""


class Gaze:
    """Reads the attention of a batch, layer by layer, and keeps sums over rows for each head."""

    def __init__(self, batch: Batch, boxes: np.ndarray, layers: Sequence[int]) -> None:
        """boxes: `overlap` of each answer [B, N]. layers: those of which `paid` is kept."""
        self.batch, self.layers = batch, layers
        self.sight = sight(batch.asked["attention_mask"], batch.known)
        self.boxes = torch.from_numpy(boxes).to(self.sight.device)
        self.inside = torch.zeros_like(batch.asked["attention_mask"])
        self.inside[:, batch.image] = (self.boxes > 0).long()
        self.tied = batch.rows(batch.tied).float()
        self.sums: list[dict[str, Tensor]] = []
        self.kept: list[Tensor] = []

    def read(self, query: Tensor, key: Tensor, scale: float) -> None:
        """Add a layer's attention: query [B, H, R, D], key [B, K, P, D], H a multiple of K."""
        key = key.repeat_interleave(query.shape[1] // key.shape[1], 1).float()
        scores = query.float() @ key.transpose(-1, -2) * scale
        paid = scores.masked_fill(~self.sight, -torch.inf).softmax(-1)
        image, asks = paid[..., self.batch.image], self.batch.user.float()
        asks = asks / asks.sum(1, keepdim=True)
        looked = torch.einsum("bhrn,br->bhn", image, self.tied)
        # Top-1 inside the box: SparseMM's hit, worth one over the box's number of tokens.
        first = paid.argmax(-1)
        hits = self.inside[:, None].expand(-1, first.shape[1], -1).gather(-1, first)
        size = self.inside.sum(1).clamp_min(1)[:, None]
        if len(self.sums) in self.layers:
            self.kept.append(image.mean(1))
        before = paid[..., : int(self.batch.image[0])].sum(-1)
        self.sums.append(
            {
                "image": torch.einsum("bhr,br->bh", image.sum(-1), asks),
                "before": torch.einsum("bhr,br->bh", before, asks),
                "looked": looked.sum(-1),
                "inside": (looked * self.boxes[:, None]).sum(-1),
                "hits": (hits * self.tied[:, None]).sum(-1) / size,
            }
        )

    def totals(self) -> dict[str, np.ndarray]:
        """What was read, name to float64 [B, layers, heads].

        image and before: what the user's words pay, on average, to the image and to what stands
        before it. looked and inside: what rows that predict words tied to the image pay to it and
        to the box, summed over rows. hits: SparseMM's, summed over rows.
        """
        return {
            name: torch.stack([layer[name] for layer in self.sums], 1).double().cpu().numpy()
            for name in self.sums[0]
        }

    def paid(self) -> Tensor:
        """Attention on each image token [B, R, N], mean over heads and `layers`."""
        return torch.stack(self.kept).mean(0)

    def enrichment(self) -> Tensor:
        """How the rows that predict answers look at the image [B, T]: AT-RL's connectivity.

        Mass on the image over the image's share of the keys in sight, as in models.connectivity.
        """
        behind, answer = self.sight.shape[2], self.batch.real.shape[1]
        rows = slice(behind - answer - 1, behind - 1)
        share = len(self.batch.image) / self.sight[:, 0, rows].sum(-1)
        return self.paid()[:, rows].sum(-1) / share


def joined(parts: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """`Gaze.totals` of many batches as one."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def scores(hits: np.ndarray) -> np.ndarray:
    """SparseMM's visual-head score (2506.05344) [layers, heads], summing to 1.

    hits [items, layers, heads] of items with a box: a head hits where the key that it attends to
    most, of all in sight, is an image token in the box. Without any hit all heads score alike.
    """
    found: Any = hits.mean(0)
    return found / found.sum() if found.sum() > 0 else np.full(found.shape, 1 / found.size)


def concentrated(hits: np.ndarray) -> dict[str, float]:
    """How unevenly the visual-head score lies on heads, from hits [items, layers, heads].

    heads/gini: 0 for even, towards 1 for one head alone. top: what the top FEW of the heads hold,
    at least one of them. effective: the number of heads that hold it, exp of its entropy. hits: of
    all heads together, per item.
    """
    flat = np.sort(scores(hits).ravel())
    count, held = len(flat), flat[flat > 0]
    few = max(1, int(np.ceil(FEW * count - 1e-9)))
    return {
        "heads/gini": float(
            2 * (np.arange(1, count + 1) * flat).sum() / count - (count + 1) / count
        ),
        "heads/top": float(flat[-few:].sum()),
        "heads/effective": float(np.exp(-(held * np.log(held)).sum())),
        "heads/hits": float(hits.sum((1, 2)).mean()),
    }


def by_layer(table: pd.DataFrame, sums: dict[str, np.ndarray]) -> pd.DataFrame:
    """One row a question and layer, heads taken together: item, layer, image, before, box.

    box: of the attention that words tied to the image pay to it, the share in the box; a head
    counts by how much it looks. enrichment: over the box's share of the area. Both are NaN where
    the question is about no object. table: columns item and patches (`overlap`).
    """
    items, layers, _ = sums["image"].shape
    area = np.stack(table["patches"]).mean(1)[:, None]
    box = sums["inside"].sum(2) / sums["looked"].sum(2)
    box = np.where(area > 0, box, np.nan)
    found = {
        "image": sums["image"].mean(2),
        "before": sums["before"].mean(2),
        "box": box,
        "enrichment": box / np.where(area > 0, area, np.nan),
    }
    rows = pd.DataFrame({name: values.ravel() for name, values in found.items()})
    rows.insert(0, "item", np.repeat(table["item"].to_numpy(), layers))
    rows.insert(1, "layer", np.tile(np.arange(layers), items))
    return rows


def by_head(sums: dict[str, np.ndarray], boxed: np.ndarray, picked: np.ndarray) -> pd.DataFrame:
    """One row a head: layer, head, score, whether `picked` for silencing, means of `sums`.

    boxed: which items have a box, bool [items]; scores and means are over these.
    """
    layer, head = np.indices(picked.shape)
    rows = {"layer": layer, "head": head, "score": scores(sums["hits"][boxed]), "picked": picked}
    rows |= {name: values[boxed].mean(0) for name, values in sums.items()}
    return pd.DataFrame({name: values.ravel() for name, values in rows.items()})


def where(looks: pd.DataFrame) -> dict[str, float]:
    """Means of `by_layer`: box/... over questions with a box, by layer besides; and vas/...

    vas/ratio is left out where nothing stands before the image.
    """
    found = {"box/items": float(looks.loc[looks["box"].notna(), "item"].nunique())}
    for name, column in (("share", "box"), ("enrichment", "enrichment")):
        found[f"box/{name}"] = float(looks[column].mean())
        for layer, mean in looks.groupby("layer")[column].mean().items():
            found[f"box/{name}/layer{layer}"] = float(mean)
    image, before = float(looks["image"].mean()), float(looks["before"].mean())
    found |= {"vas/image": image, "vas/system": before}
    return found | ({"vas/ratio": image / before} if before > 0 else {})
