"""Which words of an answer are tied to the image, by each selector's lights and in truth.

All models read the same frozen answers, the reference responses to judged questions, so figures
compare between arms. Three measures of a word: its attention to the image (AT-RL's connectivity,
2602.11455), how far its distribution moves when the image is spoilt (VPPO's dependency,
2510.09285), and its entropy. The truth is known: the words that the embedded world records as
depending on the image. Two nulls: an untrained model of the same shape; and the same model where
the scene is told in words and no image is there, since what it pays to any source of the answer is
not sight.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from steps.behaviour import frozen
from steps.models import families, load
from steps.models.connectivity import watched
from steps.posttrain.credit.select import most
from steps.posttrain.credit.spoil import blacked
from steps.posttrain.credit.vppo import exact
from steps.whose import signed

MEASURES = ("density", "drift", "entropy")
HOW = {"density": "mean", "drift": "sum", "entropy": "sum"}
"""How the tokens of a word make its measure: attention is a mean, information adds up."""


def run(params: Any, inputs: dict[str, Path], out: Path) -> dict[str, float]:
    """Read params.tokens.items frozen answers; keep every word's measures in tokens.parquet.

    items.parquet has one row a question and measure: auroc, precision and recall of the words
    picked (params.tokens.share of them) against those that depend on the image. Returns
    `tokens/...`: means over questions, and over words where said so.
    """
    told, who = params.tokens, params.run
    table, pictures = frozen.answers(inputs["items"], told.items)
    model = load.vlm(inputs["model"]).to(load.device())
    processor = load.processor(inputs["model"])
    generator = torch.Generator().manual_seed(who.seed or 0)
    words = measured(model, processor, table, pictures, told, generator)
    parts = {"text/": measured(model, processor, table, None, told)}
    if who.arm == "none":  # an untrained model is the same beside every arm
        untrained = load.untrained(model, who.seed or 0)
        parts["untrained/"] = measured(untrained, processor, table, pictures, told)
    found = _written(words, told.share, who, out)
    for head, part in parts.items():
        found |= _tied(head, part)
        told_apart = judged(part, told.share, ["density"])["auroc"]
        found[f"tokens/{head}density/auroc"] = float(told_apart.mean())
    return found


def rescored(params: Any, inputs: dict[str, Path], kept: Path, out: Path) -> dict[str, float]:
    """What `run` writes and returns of the model itself, from its words in the folder `kept`.

    Of the nulls, `tokens/text/...` and `tokens/untrained/...`, no words are kept.
    """
    words = pd.read_parquet(kept / "tokens.parquet")
    return _written(words, params.tokens.share, params.run, out)


def _written(words: pd.DataFrame, share: float, who: Any, out: Path) -> dict[str, float]:
    """Write both tables of the model's words; returns its metrics."""
    scores = judged(words, share, MEASURES)
    words.to_parquet(out / "tokens.parquet", index=False)
    signed(scores, who).to_parquet(out / "items.parquet", index=False)
    found = _means(scores) | _tied("", words)
    return found | {f"tokens/overlap/{k}": v for k, v in overlaps(words, share).items()}


def _tied(head: str, words: pd.DataFrame) -> dict[str, float]:
    """`levels` and `two_kinds` of words, under `tokens/<head>`."""
    kinds = {f"two/{name}": v for name, v in two_kinds(words["density"].to_numpy()).items()}
    return {f"tokens/{head}{name}": value for name, value in (levels(words) | kinds).items()}


def measured(
    model: Any,
    processor: Any,
    table: pd.DataFrame,
    pictures: np.ndarray | None,
    told: Any,
    generator: torch.Generator | None = None,
) -> pd.DataFrame:
    """One row a word of `table`'s responses: item, place, word, depends, and MEASURES.

    density is enrichment: attention on the image over the share of visible tokens that are its.
    Without pictures the scene is told in words, which take the image's place in it. generator: what
    patches are blacked out by; without it there is no drift.
    """
    see = load.reader(processor.image_processor)
    families.only(model, "tokens")
    patch = model.config.vision_config.patch_size
    rows = []
    for start in range(0, len(table), told.batch):
        some = table.iloc[start : start + told.batch]
        region, shown = None, {}
        if pictures is None:
            asked, owners, region = frozen.in_words(processor, some)
            region = region.to(model.device)
        else:
            asked, owners, _ = frozen.asked(processor, model.config.image_seq_length, some)
            shown["pixel_values"] = see(pictures[start : start + len(some)]).to(model.device)
        answer, asked = max(map(len, owners)), asked.to(model.device)
        told_apart = (asked["input_ids"], asked["attention_mask"], answer, told.layers)
        with torch.inference_mode():
            with watched(model, *told_apart, region=region) as watch:
                kept = model(**asked, **shown, logits_to_keep=answer + 1).logits
            chances = kept[:, :-1].float().log_softmax(-1)
            found = {
                "density": watch.connectivity().enrichment,
                "entropy": -(chances.exp() * chances).sum(-1),
            }
            if generator is not None:
                spoilt = blacked(shown["pixel_values"], patch, processor, generator)
                other = model(**asked, pixel_values=spoilt, logits_to_keep=answer + 1).logits
                found["drift"] = exact(chances, other[:, :-1].float())
        for i, (item, owner) in enumerate(zip(some.itertuples(), owners, strict=True)):
            texts = item.response.split()
            whole = pd.DataFrame({k: v[i, -len(owner) :].cpu().numpy() for k, v in found.items()})
            words = whole.groupby(owner).agg({name: HOW[name] for name in found})
            words.insert(0, "item", item.item)
            words.insert(1, "kind", item.kind)
            words.insert(2, "place", range(len(texts)))
            words.insert(3, "word", texts)
            words.insert(4, "depends", np.asarray(item.depends, bool))
            rows.append(words)
    return pd.concat(rows, ignore_index=True)


def judged(words: pd.DataFrame, share: float, measures: Sequence[str]) -> pd.DataFrame:
    """One row a question and measure: how well it tells the words that depend on the image.

    auroc: a word that depends has the larger value than one that does not. precision, recall: of
    the ceil(share x length) words with the largest values.
    """
    from sklearn.metrics import roc_auc_score

    rows = []
    for item, part in words.groupby("item", sort=False):
        truth = part["depends"].to_numpy()
        for name in measures:
            picked = _picked(part[name].to_numpy(), share)
            hits = int((picked & truth).sum())
            rows.append(
                {
                    "instrument": f"tokens_{name}",
                    "item": item,
                    "auroc": float(roc_auc_score(truth, part[name])),
                    "precision": hits / int(picked.sum()),
                    "recall": hits / int(truth.sum()),
                }
            )
    return pd.DataFrame(rows)


def overlaps(words: pd.DataFrame, share: float) -> dict[str, float]:
    """Mean Jaccard index of the words that two measures pick, over questions."""
    pairs = [("density", "drift"), ("density", "entropy"), ("drift", "entropy")]
    found: dict[str, list[float]] = {f"{a}_{b}": [] for a, b in pairs}
    for _, part in words.groupby("item", sort=False):
        picked = {name: _picked(part[name].to_numpy(), share) for name in MEASURES}
        for a, b in pairs:
            both = (picked[a] & picked[b]).sum() / (picked[a] | picked[b]).sum()
            found[f"{a}_{b}"].append(float(both))
    return {name: float(np.mean(values)) for name, values in found.items()}


def two_kinds(density: np.ndarray) -> dict[str, float]:
    """Whether words fall into two kinds by log density, and the share of the more tied kind.

    A mixture of two Gaussians against one: `bic` is what two gain (above 10: strong evidence),
    `apart` Ashman's D (above 2: two peaks), `share` the upper part's weight. Over words.
    """
    from sklearn.mixture import GaussianMixture

    x = np.log(np.maximum(density, 1e-9))[:, None]
    one, two = (GaussianMixture(k, n_init=3, random_state=0).fit(x) for k in (1, 2))
    means, spread, weights = (
        np.ravel(getattr(two, name)) for name in ("means_", "covariances_", "weights_")
    )
    return {
        "bic": float(one.bic(x) - two.bic(x)),
        "apart": float(np.sqrt(2) * np.ptp(means) / np.sqrt(spread.sum())),
        "share": float(weights[means.argmax()]),
    }


def _picked(values: np.ndarray, share: float) -> np.ndarray:
    row = torch.tensor(values)[None]
    return most(row, torch.ones_like(row, dtype=torch.bool), share)[0].numpy()


def levels(words: pd.DataFrame) -> dict[str, float]:
    """Mean density of words that depend on the image and of others; their share of all words."""
    tied = words["depends"]
    return {
        "density/depends": float(words.loc[tied, "density"].mean()),
        "density/other": float(words.loc[~tied, "density"].mean()),
        "depends": float(tied.mean()),
    }


def _means(scores: pd.DataFrame) -> dict[str, float]:
    return {
        f"tokens/{name}/{column}": float(rows[column].mean())
        for name in MEASURES
        for rows in (scores[scores["instrument"] == f"tokens_{name}"],)
        for column in ("auroc", "precision", "recall")
    }
