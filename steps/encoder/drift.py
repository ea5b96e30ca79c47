"""How far an arm moved its eye: its tower, layer by layer, against the base's or another arm's.

Both read the same images. Layer 0 is what the first block reads, layer k is block k's output, up to
the one that the projector reads; `proj` is what the projector makes of that. Two views of each: an
image's mean token (`pooled`), and tokens by themselves (`patch`).

Besides, how well either eye agrees with language: whether images lie near each other where texts
about them do, to the base's language model (mutual k-NN as in Huh et al. 2024, arXiv 2405.07987,
and PIVOT, 2510.16333, appendix E.6). One language model reads for both: only the eyes differ. An
arm that does not train is the calibration: CKA 1, Procrustes 0, no weight moved, no gain.
"""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from steps.data.speech import ANY
from steps.encoder import similarity
from steps.encoder import tower as towers
from steps.models import load
from steps.stage import StageError
from steps.track import log
from steps.whose import WHO

TOKENS = 4096
"""Most patch tokens compared, drawn from those of all images by the run's seed."""
TITLES = {
    "cka": "CKA with {}, debiased",
    "procrustes": "Procrustes distance, half",
    "knn": "nearest images shared",
    "rank": "effective rank (grey: {})",
    "weights": "relative change of weights",
}
ARM, BASE, NULL = "#2f78c4", "#7d8894", "#c9ced4"
Layers = dict[tuple[str, str], np.ndarray]
"""Features float32 of each (layer, view): pooled [images, D], patch [tokens, D]."""


def run(params: Any, inputs: dict[str, Path], out: Path) -> dict[str, float]:
    """Compare the VLM `inputs['model']` with `inputs['reference']` on the probes' images.

    inputs: also `base`, whose `instruct` is the language model that reads, and `probes`.
    params.drift: reference (the arm compared with; `none` is the untouched base), images (the first
    of classify_images.npy), batch, k (numbers of neighbours; the middle one compares layers),
    bootstrap (draws of each interval and null). Writes layers.parquet (a row a layer and view),
    alignment.parquet (a row a depth of the language model and k) and drift.png; `base` in their
    columns is the reference. Returns both tables as `drift/<column>/<layer>` for the pooled view,
    `drift/patch/<column>/<layer>` and `drift/<column>/<depth>/k<k>`; and `drift/images`. Raises
    StageError where there are no more images than neighbours.
    """
    told, seed, probes = params.drift, params.run.seed or 0, Path(inputs["probes"])
    stored = np.load(probes / "classify_images.npy", mmap_mode="r", allow_pickle=False)
    pictures, ks = np.array(stored[: told.images]), sorted(set(told.k))
    if len(pictures) <= max(3, ks[-1]):
        raise StageError(
            f"drift.k is {ks}, but there are {len(pictures)} images: ask for fewer neighbours, "
            "or for more images (drift.images, probes.classify_train)"
        )
    texts = described(pd.read_parquet(probes / "classify.parquet").iloc[: len(pictures)])
    home = Path(inputs["base"]) / "instruct"
    folders = inputs["model"], inputs["reference"], home
    arm, other, base = (load.vlm(folder).to(load.device()) for folder in folders)
    processor = load.processor(home)
    see = load.reader(processor.image_processor)  # the arm's is the same
    new, old = (look(vlm, see, pictures, told.batch, seed) for vlm in (arm, other))
    layers = compared(new, old, changes(arm, other), ks[len(ks) // 2])
    read = list(new)[-4]  # pooled, what the projector reads: `proj` has the last two
    eyes, rng, rows = (new[read], old[read]), np.random.default_rng([seed, 2]), []
    for depth, words in heard(base, processor.tokenizer, texts, told.batch).items():
        for k in ks:
            found = similarity.alignment(*eyes, words, k, told.bootstrap, rng)
            rows.append({"depth": depth, "k": k, **found})
    aligned = pd.DataFrame(rows)
    picture(layers, aligned, told.reference, out / "drift.png")
    log.figure(out / "drift.png")
    who = {name: getattr(params.run, name) for name in WHO}
    layers.assign(**who).to_parquet(out / "layers.parquet", index=False)
    aligned.assign(**who).to_parquet(out / "alignment.parquet", index=False)
    metrics = {"drift/images": len(pictures)}
    for row in layers.to_dict("records"):
        layer, head = row.pop("layer"), {"pooled": "drift", "patch": "drift/patch"}[row.pop("view")]
        metrics |= {f"{head}/{name}/{layer}": v for name, v in row.items() if not np.isnan(v)}
    for row in aligned.to_dict("records"):
        where = f"{row.pop('depth')}/k{row.pop('k')}"
        metrics |= {f"drift/{name}/{where}": value for name, value in row.items()}
    return metrics


def changes(arm: Any, base: Any) -> dict[str, float]:
    """Relative change of the weights that make each layer, up to what the projector reads; `proj`.

    Layer 0 is made by the embeddings. Raises ValueError for models of other shapes.
    """
    new, old = _parts(arm), _parts(base)
    return {part: similarity.moved(new[part], old[part]) for part in old}


def _parts(vlm: Any) -> dict[str, list[np.ndarray]]:
    tower = towers.cut(vlm, towers.own(vlm))
    parts: dict[str, list[np.ndarray]] = {"layer0": []}
    for name, weight in tower.named_parameters():
        block = re.search(r"\b(?:layers?|blocks)\.(\d+)\.", name)
        if block or not ("post_layernorm" in name or name.startswith("merger.")):
            part = f"layer{int(block[1]) + 1}" if block else "layer0"
            parts.setdefault(part, []).append(weight.detach().cpu().numpy())
    parts["proj"] = [p.detach().cpu().numpy() for p in towers.head(vlm).parameters()]
    return parts


def look(vlm: Any, see: Any, pictures: np.ndarray, batch: int, seed: int) -> Layers:
    """What a VLM's eye makes of `pictures` uint8 [N, H, W, 3]; all models keep the same tokens."""
    tower = towers.cut(vlm, towers.own(vlm)).to(vlm.device)
    head = towers.head(vlm)
    found: dict[tuple[str, str], list[np.ndarray]] = {}
    for start in range(0, len(pictures), batch):
        with torch.inference_mode():
            states = towers.states(tower, see(pictures[start : start + batch]).to(vlm.device))
            behind = head(states[-1])
        if start == 0:  # only now is it known how many tokens an image has
            each = states[0].shape[1]
            kept = np.zeros(len(pictures) * each, bool)
            kept[np.random.default_rng([seed, 1]).permutation(len(kept))[:TOKENS]] = True
        some = torch.from_numpy(kept[start * each : (start + batch) * each])
        layers = {f"layer{k}": state.cpu() for k, state in enumerate(states)}
        for name, state in (layers | {"proj": behind.cpu()}).items():
            found.setdefault((name, "pooled"), []).append(state.mean(1).numpy())
            found.setdefault((name, "patch"), []).append(state.flatten(0, 1)[some].numpy())
    return {name: np.concatenate(parts) for name, parts in found.items()}


def compared(new: Layers, old: Layers, moved: dict[str, float], k: int) -> pd.DataFrame:
    """One row a layer and view: how arm and base compare; with `pooled`, weights as in `moved`."""
    rows = []
    for ((layer, view), x), y in zip(new.items(), old.values(), strict=True):
        row: dict[str, Any] = {"layer": layer, "view": view}
        row |= {"cka": similarity.cka_debiased(x, y), "procrustes": similarity.procrustes(x, y)}
        if view == "pooled":
            near = similarity.neighbours(x, k), similarity.neighbours(y, k)
            row |= {"knn": similarity.shared(*near).mean(), "weights": moved[layer]}
        row["rank"], row["rank_base"] = (similarity.effective_rank(part) for part in (x, y))
        rows.append(row)
    return pd.DataFrame(rows)


def described(table: pd.DataFrame) -> list[str]:
    """What the probes' images show, in words that the base's language model knows.

    As far as the table tells: no places, nothing of the small objects but their number, no letter.
    """
    drawn = "color" in table
    main = table["color"] + " " + table["shape"] if drawn else table["category"] + f" {ANY}"
    return [
        f"scene : a large {what} ; objects : {count} ; the ground is {ground} ."
        for what, count, ground in zip(main, table["count"], table["ground"], strict=True)
    ]


def heard(base: Any, tokenizer: Any, texts: list[str], batch: int) -> dict[str, np.ndarray]:
    """Means over the tokens [N, D] of what a VLM's language model makes of texts, by depth.

    `middle`: behind the block half-way up; `last`: behind the last block and the final norm. Equal
    texts are read once, and so are equal to the last bit.
    """
    distinct, which = np.unique(texts, return_inverse=True)
    found: dict[str, list[np.ndarray]] = {"middle": [], "last": []}
    for start in range(0, len(distinct), batch):
        some = distinct[start : start + batch].tolist()  # padded where no word can see it
        told = tokenizer(some, padding=True, padding_side="right", return_tensors="pt")
        ids, mask = (told[name].to(base.device) for name in ("input_ids", "attention_mask"))
        listen = {"input_ids": ids, "attention_mask": mask, "output_hidden_states": True}
        with torch.inference_mode():
            states = base.model.language_model(**listen).hidden_states
        for depth, at in {"middle": len(states) // 2, "last": -1}.items():
            mean = (states[at] * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
            found[depth].append(mean.cpu().numpy())
    return {depth: np.concatenate(parts)[which] for depth, parts in found.items()}


def picture(layers: pd.DataFrame, aligned: pd.DataFrame, reference: str, path: Path) -> None:
    """Small multiples: measures by layer, views apart, and agreement with language by k; a PNG.

    reference: what the arm is compared with.
    """
    from matplotlib import figure, rc_context

    with rc_context({"axes.titlelocation": "left", "axes.titlesize": 8.5, "font.size": 8}):
        plot = figure.Figure(figsize=(8.4, 4.6), dpi=150, layout="constrained")
        *panels, talk = plot.subplots(2, 3).flat
        for panel, (name, title) in zip(panels, TITLES.items(), strict=True):
            for dash, view in (("-", "pooled"), (":", "patch")):
                rows = layers[(layers["view"] == view) & layers[name].notna()]
                if name == "rank":
                    panel.plot(rows["layer"], rows["rank_base"], dash, color=BASE)
                panel.plot(rows["layer"], rows[name], f"{dash}o", color=ARM, ms=3, label=view)
            panel.set_title(title.format(reference))
            panel.tick_params("x", rotation=90, labelsize=7)
        for (depth, rows), dash in zip(aligned.groupby("depth", sort=False), ":-", strict=True):
            for name, colour in {"_null": NULL, "_base": BASE}.items():
                talk.plot(rows["k"], rows[f"align{name}"], dash, color=colour)
            talk.plot(rows["k"], rows["align"], dash, color=ARM, label=depth)
        talk.set(title="agreement with language (light: null)", xlabel="neighbours")
        talk.set_xticks(aligned["k"].unique())
        for panel in (panels[0], talk):
            panel.legend(frameon=False)
        plot.savefig(path, metadata={"Software": None})  # no version inside: equal bytes
