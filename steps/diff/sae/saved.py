"""A dictionary as a folder in SAELens' layout, and as an object that reads activations.

    cfg.json                    architecture (topk | jumprelu), d_in, d_sae, k, metadata
    sae_weights.safetensors     W_enc [d, f], b_enc [f], W_dec [f, d], b_dec [d], threshold [f]
    sparsity.safetensors        log10 of the share of held-out tokens on which each latent fires

Activations are read as the model has them: the scale at which a dictionary was fitted is folded
into its biases. BatchTopK is saved as SAELens saves it for inference, as a JumpReLU at its learned
threshold. Other people's JumpReLU dictionaries (Rajamanoharan et al. 2407.14435; Gemma Scope, Llama
Scope) are read with what their cfg.json says about biases and norms folded in.
"""

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from steps.diff.sae.fit import Fitted
from steps.diff.sae.topk import Weights, largest, preactivations
from steps.stage import Missing, StageError

VERSION = "6.0.0"  # of SAELens, whose layout this is
SPARSITY, NEVER = "sparsity.safetensors", 1e-10
HOOKS = {"residual": "hook_resid_post", "heads": "attn.hook_z", "mlp": "hook_mlp_out"}
"""TransformerLens' names of the places that sites name, behind `blocks.<layer>.`."""


@dataclass(frozen=True)
class Dictionary:
    """A sparse dictionary over one site's activations, which it reads as the model has them.

    weights: W_enc [d, f], b_enc [f], W_dec [f, d] (rows of unit length), b_dec [d]. kind: topk |
    batchtopk | jumprelu. k: latents a token (None where only a threshold is known), threshold [f]
    (None for topk), config: its cfg.json.
    """

    weights: Weights
    kind: str
    k: int | None
    threshold: Tensor | None
    config: dict[str, Any]

    def codes(self, x: Tensor) -> Tensor:
        """Codes [n, f] (>= 0) of activations x [n, d]; a token's do not hang on the others."""
        pre = preactivations(self.weights, x)
        if self.threshold is not None:
            return pre.relu() * (pre > self.threshold)
        values, index = largest(pre, self.k or 1)
        return torch.zeros_like(pre).scatter_(1, index, values.relu())

    def decode(self, codes: Tensor) -> Tensor:
        """The activations [n, d] that codes [n, f] stand for."""
        return torch.addmm(self.weights["b_dec"], codes, self.weights["W_dec"])

    def to(self, device: str) -> "Dictionary":
        """The same on a device."""
        weights = {name: tensor.to(device) for name, tensor in self.weights.items()}
        threshold = None if self.threshold is None else self.threshold.to(device)
        return Dictionary(weights, self.kind, self.k, threshold, self.config)


def scaled(fitted: Fitted, k: int, scale: float = 1.0) -> Dictionary:
    """What was fitted to `scale * x`, as a dictionary that reads x.

    scale x - b = scale (x - b / scale): with both biases (and the threshold) divided by the scale,
    codes come out divided by it and decode to x, while the latents chosen and the decoder stay.
    """
    weights = dict(fitted.weights)
    weights |= {name: weights[name] / scale for name in ("b_enc", "b_dec")}
    if fitted.threshold is None:
        return Dictionary(weights, "topk", k, None, {})
    threshold = torch.full_like(weights["b_enc"], fitted.threshold / scale)
    return Dictionary(weights, "batchtopk", k, threshold, {})


def save(
    folder: Path,
    one: Dictionary,
    site: str | None = None,
    notes: dict[str, Any] | None = None,
    rate: Tensor | None = None,
) -> None:
    """Write a dictionary's folder; `site` and `notes` go into cfg.json's metadata.

    rate: on which share of tokens each latent fires [f]; kept as SAELens keeps it.
    """
    folder.mkdir(parents=True)
    state = {name: tensor.contiguous() for name, tensor in one.weights.items()}
    kind: dict[str, Any] = {"architecture": "jumprelu"}
    if one.threshold is None:
        kind = {"architecture": "topk", "k": one.k, "rescale_acts_by_decoder_norm": False}
    else:
        state["threshold"] = one.threshold
    # without a version SAELens takes the file for one from before 6.0 and drops the metadata
    metadata: dict[str, Any] = {"sae_lens_version": VERSION, "kind": one.kind, "k": one.k}
    if site:
        place, layer = site.split(".")
        metadata |= {"site": site, "hook_name": f"blocks.{layer}.{HOOKS[place]}"}
    config = kind | {
        "d_in": state["W_dec"].shape[1],
        "d_sae": state["W_dec"].shape[0],
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": True,
        "normalize_activations": "none",
        "reshape_activations": "none",
        "metadata": metadata | (notes or {}),
    }
    save_file(state, folder / "sae_weights.safetensors")
    (folder / "cfg.json").write_text(json.dumps(config, indent=1))
    if rate is not None:
        save_file({"sparsity": (rate.float() + NEVER).log10()}, folder / SPARSITY)


def load(folder: Path) -> Dictionary:
    """The dictionary in a folder, whoever made it: a TopK, BatchTopK or JumpReLU one.

    Raises Missing for a folder without its two files, StageError for another architecture or for
    activations normalised token by token, which cannot be folded into weights.
    """
    for name in ("cfg.json", "sae_weights.safetensors"):
        if not (folder / name).is_file():
            raise Missing(
                f"{folder} has no {name}: give a folder in SAELens' layout (weights in "
                "safetensors; pickled ones are not read)"
            )
    config = json.loads((folder / "cfg.json").read_text())
    if (of := config["architecture"]) not in ("topk", "jumprelu"):
        raise StageError(f"{folder} holds a {of} dictionary: give a topk or jumprelu one")
    if (of := config.get("normalize_activations", "none")) != "none":
        raise StageError(
            f"{folder}/cfg.json says normalize_activations = {of}: fold it into the weights "
            "(SAELens' fold_activation_norm_scaling_factor), save again and say none"
        )
    state = {name: t.float() for name, t in load_file(folder / "sae_weights.safetensors").items()}
    weights = {name: state[name] for name in ("W_enc", "b_enc", "W_dec", "b_dec")}
    if not config.get("apply_b_dec_to_input", True):
        weights["b_enc"] = weights["b_enc"] + weights["b_dec"] @ weights["W_enc"]
    if config["architecture"] == "topk":
        if config.get("rescale_acts_by_decoder_norm"):
            weights = units(weights)
        return Dictionary(weights, "topk", int(config["k"]), None, config)
    if "threshold" not in state:
        raise StageError(f"{folder} holds a jumprelu dictionary without its threshold")
    about = config.get("metadata") or {}
    kind, k = about.get("kind", "jumprelu"), about.get("k")
    if about.get("training_architecture") == "batchtopk":
        kind, k = "batchtopk", (about.get("training_architecture_details") or {}).get("k")
    return Dictionary(weights, kind, None if k is None else int(k), state["threshold"], config)


def alive(folder: Path) -> Tensor | None:
    """Which latents of a folder's dictionary fire at all, bool [f]; None where it does not say."""
    if not (folder / SPARSITY).is_file():
        return None
    return load_file(folder / SPARSITY)["sparsity"] > math.log10(2 * NEVER)


def units(weights: Weights) -> Weights:
    """The same sums with decoder rows of unit length: their lengths go into the codes."""
    length = weights["W_dec"].norm(dim=1).clamp(min=1e-8)
    return {
        "W_enc": weights["W_enc"] * length,
        "b_enc": weights["b_enc"] * length,
        "W_dec": weights["W_dec"] / length[:, None],
        "b_dec": weights["b_dec"],
    }


def begin(folder: Path, site: str, d: int, width: int, scale: float) -> Weights:
    """Weights that read `scale * x`, from a folder's dictionary that reads x [n, d] at `site`.

    A JumpReLU one loses its threshold and goes on as what is fitted, with the same weights (as
    2602.08713 does with Llama Scope's). Raises StageError where it is of another site's width, of
    another number of latents than diff.width, or where its cfg.json names another layer.
    """
    found = load(folder)
    latents, wide = found.weights["W_dec"].shape
    where = f"diff.start.{site} = {folder}"
    if wide != d:
        raise StageError(f"{where}: it reads {wide} numbers, not the {d} there: give another")
    if latents != width:
        raise StageError(f"{where}: it has {latents} latents: set diff.width to that, not {width}")
    about = found.config.get("metadata") or {}
    name = str(about.get("hook_name") or found.config.get("hook_name") or "")
    if named := re.search(r"(?:blocks|layers)\.(\d+)(?:\.(.*))?$", name):
        layer = int(named[1]) - (named[2] == "hook_resid_pre")  # what goes in came out one before
        if layer != int(site.split(".")[1]):
            raise StageError(f"{where}: it is of {name}: give one that was fitted to {site}")
    weights = units(found.weights)
    return weights | {name: weights[name] * scale for name in ("b_enc", "b_dec")}
