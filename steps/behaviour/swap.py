"""Eye or mind: where an arm's gain sits, told by swapping parts of base and arm.

Nothing is trained. Tower, projector and language model come each from the base or from the arm,
which makes eight models, and all are asked the same questions. Main effects and interactions of the
three (`steps.behaviour.factorial`) say which part brings the gain, and what parts bring only
together: parts of one model grew used to each other, and a mixed model may do worse than either.
Called the eye is what stands before the language model; its main effect, tower and projector
swapped as one, is the sum of theirs, and so is its interaction with the language model.

Besides, the arm's eye with a language model merged from both, layer by layer: by one weight, or by
weights along the decay with depth of the base's attention to the image (`steps.models.merge`).
"""

from collections.abc import Iterable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from steps.behaviour import factorial, frozen, vqa
from steps.data.judge.judge import Judge
from steps.models import load, merge
from steps.models.connectivity import watched
from steps.posttrain.budget import PARTS, part
from steps.track import log
from steps.whose import signed

CELLS = ["".join(digits) for digits in product("01", repeat=len(PARTS))]
"""The eight models: a digit for each of PARTS, 1 where it is the arm's."""


def run(params: Any, inputs: dict[str, Path], out: Path) -> dict[str, float]:
    """Ask params.swap.items judged questions of all eight models and of the merged ones.

    inputs: model (the arm's folder), base (its `instruct` is the base's) and items. items.parquet
    has one row a question and model, as `vqa` writes them, with instrument swap_<tower><projector>
    <language> (0 the base's, 1 the arm's), merge_flat_<w> or merge_decay_<w>. Returns `swap/...`:
    lenient/<digits>, total, main/<part>, interaction/<part>_<part> and /all, shapley/<part>, with
    `eye` among the parts and <name>/se, the bootstrap's standard error over images; merge/flat/<w>,
    merge/decay/<w> and their difference merge/gain/<w>; the same under swap/margin, in nats;
    decay/a, b, r2, mass/<layer> and peak, the largest weight over the mean one.
    Raises StageError where base and arm are not of one architecture.
    """
    told, who = params.swap, params.run
    table, pictures = questions(inputs["items"], told.items)
    start, judge = inputs["base"] / "instruct", Judge(inputs["items"])
    model, processor = load.vlm(start).to(load.device()), load.processor(start)
    masses = looks(model, processor, table, pictures, told.batch)
    decay = merge.fitted(masses)
    found: dict[str, pd.DataFrame] = {}
    weights = merge.weights(start), merge.weights(inputs["model"])
    for name, same, state in models(*weights, told.merges, decay, len(masses)):
        if same == name:
            model.load_state_dict(state)
            how = (told.batch, told.max_tokens, told.margin)
            texts, odds = vqa.ask(model, processor, table, pictures, *how)
            found[name] = vqa.score(table, texts, judge)
            if told.margin:
                found[name]["margin"] = odds
        else:
            found[name] = found[same]
        log.metric(f"{name}/lenient", found[name]["lenient"].mean(), 0)
    write(found, who, out)
    metrics = {f"decay/{name}": value for name, value in decay._asdict().items()}
    metrics |= {f"decay/mass/{layer}": float(mass) for layer, mass in enumerate(masses)}
    metrics["decay/peak"] = max(merge.decaying(decay, len(masses), 1.0))
    metrics = {f"swap/{name}": value for name, value in metrics.items()}
    return metrics | summary(found, told, table["image"].to_numpy(), who.seed or 0)


def rescored(params: Any, inputs: dict[str, Path], kept: Path, out: Path) -> dict[str, float]:
    """What `run` writes and returns but `swap/decay/...`, from the answers in the folder `kept`.

    inputs: items alone. Raises StageError for answers to other questions than theirs.
    """
    told, who, judge = params.swap, params.run, Judge(inputs["items"])
    whole, found, images = pd.read_parquet(kept / "items.parquet"), {}, np.array([])
    for name, rows in whole.groupby("instrument", sort=False):
        table = vqa.known(inputs["items"], "vqa", rows["item"])
        found[str(name)] = vqa.score(table, rows["raw"].tolist(), judge)
        if told.margin:
            found[str(name)]["margin"] = rows["margin"].to_numpy()
        images = table["image"].to_numpy()  # all are asked the same questions
    write(found, who, out)
    return summary(found, told, images, who.seed or 0)


def summary(
    found: dict[str, pd.DataFrame], told: Any, images: np.ndarray, seed: int
) -> dict[str, float]:
    """Metrics of what each model answered: levels and `figures`, of answers and of margins.

    found: `vqa.score` by instrument, all of the same questions. images [N]: of each question.
    """
    metrics = {}
    for column in ("lenient", "margin") if told.margin else ("lenient",):
        values = {name: rows[column].to_numpy(float) for name, rows in found.items()}
        levels = {f"{column}/{cell}": float(values[f"swap_{cell}"].mean()) for cell in CELLS}
        effects = figures(values, told.merges, images, seed)
        head = "margin/" if column == "margin" else ""
        metrics |= levels | {f"{head}{name}": value for name, value in effects.items()}
    return {f"swap/{name}": value for name, value in metrics.items()}


def models(
    base: dict[str, Any], arm: dict[str, Any], merges: Iterable[float], decay: Any, layers: int
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Name and weights of each model to ask, and the name of the first that is the same.

    A part that the arm left as it was makes no other model: what the first one says is known.
    """
    moved = merge.moved(base, arm, part)
    for cell in CELLS:
        chosen = {name for name, digit in zip(PARTS, cell, strict=True) if digit == "1"} & moved
        same = "".join(str(int(name in chosen)) for name in PARTS)
        yield f"swap_{cell}", f"swap_{same}", merge.recombined(base, arm, chosen, part)
    for mean in merges:
        ways = {"flat": [mean] * layers, "decay": merge.decaying(decay, layers, mean)}
        for way, shares in ways.items():
            name = f"merge_{way}_{mean:g}"
            same = name if "language" in moved else "swap_110"
            yield name, same, merge.merged(base, arm, shares, part)


def questions(items: Path, count: int) -> tuple[pd.DataFrame, np.ndarray]:
    """At most `count` judged questions (`vqa.evenly`), and the image of each."""
    table, pictures = vqa.questions(items, "vqa")
    some = vqa.evenly(count, len(table))
    return table.iloc[some].reset_index(drop=True), np.array(pictures[some])


def looks(
    model: Any, processor: Any, table: pd.DataFrame, pictures: np.ndarray, batch: int
) -> np.ndarray:
    """Attention's mass on the image in each layer of the language model, float64 [layers].

    It is what the tokens of the reference answers to `table`'s questions pay as they are foretold:
    the mean over an answer's tokens and all heads, then over answers.
    """
    see = load.reader(processor.image_processor)
    layers, paid = range(len(model.get_decoder().layers)), []
    for start in range(0, len(table), batch):
        some = table.iloc[start : start + batch]
        asked, owners, _ = frozen.asked(processor, model.config.image_seq_length, some)
        asked, longest = asked.to(model.device), max(map(len, owners))
        shown = see(pictures[start : start + batch]).to(model.device)
        ids, mask = asked["input_ids"], asked["attention_mask"]
        with torch.inference_mode(), watched(model, ids, mask, longest, layers) as watch:
            model(**asked, pixel_values=shown, logits_to_keep=1)
        mass = torch.stack(watch.found).sum(-1).double()
        paid += [mass[:, i, -len(owner) :].mean(-1) for i, owner in enumerate(owners)]
    return torch.stack(paid).mean(0).cpu().numpy()


def figures(
    values: dict[str, np.ndarray], merges: Iterable[float], images: np.ndarray, seed: int
) -> dict[str, float]:
    """Means over questions of all effects of one measure, and standard errors over images.

    values: instrument to what it measured, question by question [N]. images [N]: of each question.
    """
    table = np.stack([values[f"swap_{cell}"] for cell in CELLS])
    found = factorial.effects(table.reshape(*[2] * len(PARTS), -1), PARTS)
    for head in ("main", "shapley"):
        found[f"{head}/eye"] = found[f"{head}/tower"] + found[f"{head}/projector"]
    both = [found[f"interaction/{name}_language"] for name in ("tower", "projector")]
    found["interaction/eye_language"] = both[0] + both[1]
    for mean in merges:
        flat, decay = (values[f"merge_{way}_{mean:g}"] for way in ("flat", "decay"))
        found |= {f"merge/flat/{mean:g}": flat, f"merge/decay/{mean:g}": decay}
        found[f"merge/gain/{mean:g}"] = decay - flat
    rng = np.random.default_rng(seed)
    errors = factorial.errors(np.stack(list(found.values())), images, rng)
    metrics = {name: float(value.mean()) for name, value in found.items()}
    return metrics | {f"{name}/se": float(e) for name, e in zip(found, errors, strict=True)}


def write(found: dict[str, pd.DataFrame], who: Any, out: Path) -> None:
    """Write the rows of all instruments to items.parquet in `out`, with whose they are."""
    scored = pd.concat(found, names=["instrument"]).reset_index("instrument")
    signed(scored, who).to_parquet(out / "items.parquet", index=False)
