"""Three dictionaries over the harvested layer: before, carried on to after, and the null.

`before` is fitted from scratch on cell D (the model before visual tuning, image and text). From it
two continuations start with a fresh optimiser, the same learning rate, number of steps and batch
order: `after` on cell F (the model after it, the same tokens) and `null` on cell D again. What
`null` moves is drift; only what `after` moves beyond it can be owed to tuning (model_diffing.md
1.7, point 2; 2.4). Warm starts keep latent j latent j. All inputs are scaled by one number, that
which gives `before` a root mean square of 1, so that norms do not leak into the comparison.

A dictionary is a folder in SAELens' layout and reads activations as the model has them: the scale
is folded into the biases, which leaves W_enc, W_dec and the latents chosen as they are.
"""

import json
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from steps.diff import activations, topk
from steps.diff.fit import Plan, done, fit
from steps.stage import StageError
from steps.track import log

CELL = {"before": "D", "after": "F", "null": "D"}
"""Each dictionary's activations."""
SHARE, RATE = 0.5, 1 / 3
"""A continuation's steps and learning rate, as shares of the first fit's: enough to follow a turned
feature, little enough that a converged dictionary's null stays narrow (measured in the tests)."""


def run(params: Any, inputs: dict[str, Path], out: Path) -> dict[str, float]:
    """Fit `before`, `after` and `null` to inputs['harvest'], each into a folder of its name.

    params.diff: width, k, steps (of the first fit), batch (tokens a step), learning_rate. A killed
    run goes on from params.run.checkpoints, if given. Raises StageError when k is not below width
    or there are fewer tokens than a batch.
    """
    want, seed = params.diff, params.run.seed
    if want.k >= want.width:
        raise StageError(f"diff.k = {want.k}: must be below diff.width = {want.width}")
    harvest = Path(inputs["harvest"])
    torch.set_num_threads(params.run.threads)
    fitted = (activations.index(harvest, "D")["split"] == "fit").to_numpy()
    x = activations.read(harvest, "D", fitted)
    scale = 1 / float(x.square().mean().sqrt())
    x *= scale
    variance = float((x - x.mean(0)).square().sum(1).mean())
    first = Plan(want.k, want.steps, want.batch, want.learning_rate, variance, 2 * seed)
    steps = max(int(SHARE * want.steps), 1)
    again = Plan(want.k, steps, want.batch, RATE * want.learning_rate, variance, 2 * seed + 1)
    weights = {"start": topk.start(x, want.width, torch.Generator().manual_seed(seed))}
    metrics: dict[str, float] = {"dictionary/scale": scale}
    fits = (("before", "start", first), ("null", "before", again), ("after", "before", again))
    kept = {n: _checkpoint(params.run.checkpoints, n) for n, *_ in fits}
    log.resume(sum(done(path) for path in kept.values()) - 1)
    behind = 0  # steps of the fits so far: one axis for all three curves
    for name, source, plan in fits:
        if CELL[name] == "F":
            x = activations.read(harvest, "F", fitted) * scale
        note = partial(_note, name, behind)
        weights[name], loss = fit(x, weights[source], plan, kept[name], note)
        behind += plan.steps
        metrics[f"dictionary/{name}/loss"] = loss
        save(out / name, weights[name], want.k, scale, {"cell": CELL[name], "seed": seed})
    return metrics


def _checkpoint(folder: Path | None, name: str) -> Path | None:
    return None if folder is None else Path(folder) / f"{name}.safetensors"


def _note(name: str, behind: int, step: int, loss: float, dead: float) -> None:
    log.metric(f"dictionary/{name}/loss", loss, behind + step)
    log.metric(f"dictionary/{name}/dead", dead, behind + step)


def save(
    folder: Path, weights: topk.Weights, k: int, scale: float = 1.0, notes: dict | None = None
) -> None:
    """Write weights that read `scale * x` as a SAELens folder that reads x (cfg.json says how).

    scale x - b = scale (x - b / scale): with both biases divided by the scale, codes come out
    divided by it and decode to x, while the order of pre-activations and the decoder stay.
    """
    folder.mkdir(parents=True)
    state = {name: tensor.detach().contiguous() for name, tensor in weights.items()}
    state |= {name: state[name] / scale for name in ("b_enc", "b_dec")}
    config = {
        "architecture": "topk",
        "d_in": state["W_dec"].shape[1],
        "d_sae": state["W_dec"].shape[0],
        "k": k,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": True,
        "rescale_acts_by_decoder_norm": False,
        "normalize_activations": "none",
        "reshape_activations": "none",
        "metadata": {"scale": scale, **(notes or {})},
    }
    save_file(state, folder / "sae_weights.safetensors")
    (folder / "cfg.json").write_text(json.dumps(config, indent=1))


def load(folder: Path) -> tuple[topk.Weights, dict[str, Any]]:
    """A dictionary's weights (they read activations as the model has them) and its cfg.json.

    Raises StageError for another architecture than topk.
    """
    config = json.loads((folder / "cfg.json").read_text())
    if config["architecture"] != "topk":
        raise StageError(f"{folder} holds a {config['architecture']} dictionary: give a topk one")
    weights: dict[str, Tensor] = load_file(folder / "sae_weights.safetensors")
    return weights, config
