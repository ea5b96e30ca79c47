"""How far features turned when the language model learnt to see, in both orders.

A feature is one latent, followed from dictionary to dictionary, site by site. Two orders, as in
stage-wise model diffing (transformer-circuits.pub/2024/model-diffing): x = cos(D, DF), what the
model's change does once the data have images; y = cos(M, MF), what images do once the model is
tuned.
Only what is beyond its null in both, the *corner*, hangs on tuning and on images. What counts as
beyond is in `nulls`; an arrow whose parent had not converged is refused: its columns are empty, and
the metrics say so.

Beside the angles stand their values behind an orthogonal map of the space (align), visual energy
(energy), latent scaling (scaling), a class in one word (classes), what the paper's fixed rule would
have chosen, and the plain differences of activations that need no dictionary (lens).
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from safetensors.torch import save_file

from steps.diff.activations import TYPES
from steps.diff.arrows import ARROWS
from steps.diff.turning import energy, lens, nulls, rotation, scaling
from steps.diff.turning.classes import CLASSES, classes, moved
from steps.diff.turning.site import ELSEWHERE, ORDERS, Site, gate
from steps.track import log

VISUAL = {"x": (("D", "S"), ("F", "M")), "y": (("F", "M"), ("F", "M"))}
"""Order: the cells with the image and with the scene told in words, for parent and child."""
QUARTER = 0.25  # the VLM paper's share of lowest cosines; here for contrast only


def run(params: Any, inputs: dict[str, Path], out: Path) -> dict[str, float]:
    """Compare the dictionaries of inputs['dictionary'] on inputs['harvest'], at each site.

    inputs: also the `base` and `items` that the harvest was made of.

    Writes features.parquet (a row a site and feature; columns end in their order or dictionary),
    rotation.png, orders.png and <site>/lens.safetensors. FVU, Procrustes and lens are judged on
    held-out scenes, firing and energies measured on all.
    """
    frames, metrics = [], {}
    for name in gate(Path(inputs["dictionary"])):
        site = Site(inputs, Path(inputs["dictionary"]) / name)
        frame = table(site, params.run.seed)
        frames.append(frame.assign(site=name)[["site", *frame.columns]])
        (out / name).mkdir()
        directions, shares = _lens(site)
        save_file(directions, out / name / "lens.safetensors")
        found = site.quality | summary(frame, site.refused, params.run.seed) | site.fits | shares
        metrics |= {f"compare/{name}/{key}": value for key, value in found.items()}
        log.text(f"compare: {name}, {len(frame)} features, refused: {sorted(site.refused) or '-'}")
    features = pd.concat(frames, ignore_index=True)
    features.to_parquet(out / "features.parquet", index=False)
    for picture, draw in (("rotation.png", rotation.rotation), ("orders.png", rotation.orders)):
        if draw(features, out / picture):
            log.figure(out / picture)
    return {name: float(value) for name, value in metrics.items() if np.isfinite(value)}


def table(site: Site, seed: int) -> pd.DataFrame:
    """One row a feature of a site."""
    own = {name: site.look(name, cell) for name, (_, cell) in ARROWS.items()}
    for name, cell in ELSEWHERE:
        site.look(name, cell)
    columns: dict[str, Any] = {"feature": np.arange(len(own["S"].rate))}
    for name, seen in own.items():
        columns |= {f"alive_{name}": seen.alive, f"rate_{name}": seen.rate}
        for kind, count in enumerate(seen.tokens):
            if count:
                columns[f"rate_{name}_{TYPES[kind]}"] = seen.firings[kind] / count
                columns[f"energy_{name}_{TYPES[kind]}"] = seen.energy[kind] / count
    frame = pd.DataFrame(columns)
    for order, (parent, child, null) in ORDERS.items():
        gone = order in site.refused
        alive = np.logical_and.reduce([own[name].alive for name in (parent, child, null)])
        cosine, drift = (site.cosines(parent, other) for other in (child, null))
        verdict = nulls.turned(cosine, drift, own[parent].rate, alive & (not gone))
        straight = site.aligned(parent, child)
        again = nulls.turned(straight, drift, own[parent].rate, alive & (not gone))
        verdict = verdict.assign(cosine=cosine, null=drift, aligned=straight)
        verdict["beyond_aligned"] = verdict["beyond"] & again["beyond"]  # Q explains nothing away
        if gone:
            verdict[["cosine", "null", "aligned", "excess"]] = np.nan
        frame = frame.join(verdict.add_suffix(f"_{order}"))
    ends = np.nan if {"x", "y"} & site.refused else site.cosines("DF", "MF")
    frame["cosine_end"] = ends
    for name, rule in (("corner", "beyond"), ("corner_paired", "paired")):
        frame[name] = frame[f"{rule}_x"] & frame[f"{rule}_y"]
    frame = frame.assign(**_visual(site, seed))
    return frame.assign(**_became(site, frame))


def _visual(site: Site, seed: int) -> dict[str, np.ndarray]:
    """Visual energy of MF's features: against the scene in words, with its interval, and more."""
    seen, told, start = (site.look(*who) for who in (("MF", "F"), ("MF", "M"), ("S", "S")))
    low, high = energy.intervals(seen.groups, told.groups, np.random.default_rng([seed, 17]))
    e_v = energy.means(seen.groups)
    return {
        "energy_visual": e_v,
        "visual": energy.ratio(e_v, energy.means(told.groups)),
        "visual_low": low,
        "visual_high": high,
        "visual_start": energy.ratio(e_v, energy.means(start.groups)),
        "visual_all_tokens": energy.ratio(seen.mean, told.mean),
    }


def _became(site: Site, frame: pd.DataFrame) -> dict[str, Any]:
    """Latent scaling and classes of each order."""
    found: dict[str, Any] = {}
    for order, ((parent, child, null), cells) in {o: (ORDERS[o], VISUAL[o]) for o in "xy"}.items():
        ratios = scaling.ratios(site.load(child), site.load("D"), site.read("F"), site.read("D"))
        found |= {f"{name}_{order}": values for name, values in ratios.items()}
        if order in site.refused:
            nothing = pd.Categorical([None] * len(frame), CLASSES)
            found |= {f"{column}_{order}": nothing for column in ("class", "class_null")}
            found |= {f"visual_{when}_{order}": np.nan for when in ("before", "after")}
            continue
        settled = frame[f"settled_{order}"].to_numpy()
        turned = frame[f"beyond_{order}"].to_numpy()
        limit = frame.loc[settled, f"null_{order}"].quantile(nulls.NULL)
        drifted = settled & (frame[f"null_{order}"] < limit).to_numpy()
        uses = []
        for name, (image, text) in ((parent, cells[0]), (child, cells[1]), (null, cells[0])):
            means = (energy.means(site.look(name, cell).groups) for cell in (image, text))
            uses.append(energy.ratio(*means))
        found |= {f"visual_before_{order}": uses[0], f"visual_after_{order}": uses[1]}
        shifts = moved(*uses, settled)
        first, was = (frame[f"alive_{name}"].to_numpy() for name in ("S", parent))
        absent = scaling.specific(ratios)
        for column, name, beyond, shift in (
            ("class", child, turned, shifts[0]),
            ("class_null", null, drifted, shifts[1]),
        ):
            now = frame[f"alive_{name}"].to_numpy()
            new = absent & (column == "class")
            found[f"{column}_{order}"] = classes(first, was, now, new, settled, beyond, shift)
    return found


def summary(frame: pd.DataFrame, refused: set[str], seed: int) -> dict[str, float]:
    """The figures of one site's table, flat; those of refused arrows or few features left out."""
    metrics: dict[str, float] = {}
    for order, (_, child, null) in ORDERS.items():
        metrics[f"refused/{order}"] = float(order in refused)
        settled = frame[frame[f"settled_{order}"]]
        if order in refused:
            continue
        metrics[f"settled/{order}"] = len(settled)
        if len(settled) < nulls.FEWEST:
            continue
        drift = settled[f"null_{order}"]
        metrics[f"threshold/{order}"] = float(nulls.degrees(drift.quantile(nulls.NULL)))
        metrics[f"beyond_null/{order}"] = nulls.held_out(drift.to_numpy(), seed)
        for name in ("beyond", "beyond_aligned", "matched", "paired"):
            metrics[f"{name}/{order}"] = float(settled[f"{name}_{order}"].mean())
        for name in ("cosine", "null", "aligned", "excess"):
            metrics[f"{name}/{order}"] = float(settled[f"{name}_{order}"].median())
        if order not in VISUAL:
            continue
        for name, dictionary in (("born", child), ("born_null", null)):
            new = frame[f"alive_{dictionary}"] & ~frame["alive_S"]
            metrics[f"{name}/{order}"] = int(new.sum())
        for column in ("class", "class_null"):
            counts = frame[f"{column}_{order}"].value_counts()
            metrics |= {f"{column}/{order}/{kind}": int(counts[kind]) for kind in CLASSES}
        for rule in ("beyond", "paired"):
            metrics |= _fixed(frame, settled, order, rule)
    both = frame[frame["settled_x"] & frame["settled_y"]]
    if len(both) >= nulls.FEWEST:
        metrics |= {name: int(frame[name].sum()) for name in ("corner", "corner_paired")}
        shares = both[["beyond_x", "beyond_y"]].mean()
        metrics["corner_by_chance"] = float(len(both) * shares.prod())
        metrics["end"] = float(both["cosine_end"].median())
    known = frame[frame["alive_MF"] & frame["visual_low"].notna()]
    if len(known) >= nulls.FEWEST:
        metrics["visual"] = float(known["visual"].median())
        metrics["visual_start"] = float(known["visual_start"].median())
        metrics["visual_above"] = float((known["visual_low"] > 0.5).mean())
        metrics["visual_below"] = float((known["visual_high"] < 0.5).mean())
    return metrics


def _fixed(frame: pd.DataFrame, settled: pd.DataFrame, order: str, rule: str) -> dict[str, float]:
    """How the VLM paper's adapted set (lowest quarter of cosines, energy above 0) overlaps ours."""
    low = frame[f"cosine_{order}"] <= frame[f"cosine_{order}"].quantile(QUARTER)
    theirs, ours = low & (frame["energy_visual"] > 0), frame[f"{rule}_{order}"]
    both, either = int((theirs & ours).sum()), int((theirs | ours).sum())
    metrics = {f"paper/{order}/share": float(theirs.mean())}
    if count := int(theirs.sum()):
        metrics[f"paper/{order}/precision_{rule}"] = both / count
    if either:
        metrics[f"paper/{order}/jaccard_{rule}"] = both / either
    return metrics


def _lens(site: Site) -> tuple[dict[str, Any], dict[str, float]]:
    types, fit = site.types("F"), ~site.held("F")
    found, shares = lens.directions(site.read("D"), site.read("F"), types, TYPES, fit)
    shares["tokens"] = int(fit.sum())
    return found, {f"lens/{name}": value for name, value in shares.items()}
