"""Forgetting, after EMT: what a model's own eye can tell and the model does not say.

EMT ("Evaluating MulTimodality", Zhai et al. 2023, 2309.10313) asks a multimodal model for the class
of an image, as one asks a classifier, and holds its right answers against those of its own vision
encoder. Here the images are those that the encoder's probes are judged on, the encoder's answer is
that of its ridge probe (stage `classify`, what the projector reads), and the model is asked in the
world's own words. The paper has a language model judge the answers; here the classes are a closed
set, so that reading them leniently does. An answer that names none of them is counted apart, as the
paper tells hallucinations and other output from mere mistakes.

Image by image, since two equal shares may hide that each knows what the other does not. The gap of
one model is not forgetting: a linear probe of the mean token may tell less than the model does, and
a base may never have learnt to say what its eye tells. What an arm's gap is more than the untouched
base's is what post-training forgot.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from steps.behaviour import vqa
from steps.data.naming import named, naming
from steps.data.parse import lenient, strict
from steps.data.questions import prompt
from steps.models import load
from steps.stage import StageError
from steps.track import log
from steps.whose import signed

STYLE, FORM = "a", "word"
"""How is asked: in stage 1's own style, for the bare word."""


def run(params: Any, inputs: dict[str, Path], out: Path) -> dict[str, float]:
    """Ask for every label that questions ask about, on params.forget.images test images.

    inputs: model, probes (one seed's) and classify (the probes of this very model's encoder).
    items.parquet has one row an image and label: instrument forget_<label>, raw (a line for each
    question), strict, lenient, answer (None where it names no class), truth, probe (the probe's
    answer), probe_right, kind (the label) and, where the set has it, novel. Returns the shares of
    `summary`. Raises StageError where the probes' answers are not about these images.
    """
    told = params.forget
    about = _about(inputs, told.images)
    images = np.load(inputs["probes"] / "classify_images.npy", mmap_mode="r", allow_pickle=False)
    pictures = images[about.asked["row"].to_numpy()]
    model = load.vlm(inputs["model"]).to(load.device())
    processor = load.processor(inputs["model"])
    texts, _ = vqa.ask(model, processor, about.asked, pictures, told.batch, told.max_tokens)
    return _judged(about, texts, params.run, out)


def rescored(params: Any, inputs: dict[str, Path], kept: Path, out: Path) -> dict[str, float]:
    """What `run` writes and returns, from the answers in the folder `kept`.

    inputs: probes and classify. Raises StageError as `run` does, and where there are not as many
    answers as questions.
    """
    about = _about(inputs, params.forget.images)
    whole = pd.read_parquet(kept / "items.parquet").set_index(["kind", "item"])["raw"]
    texts: list[str] = []
    groups: Any = about.asked.groupby(["row", "label"], sort=False)
    for (row, label), part in groups:
        said = whole.get((label, _item(row)))
        lines = [] if said is None else [said] if len(part) == 1 else said.split("\n")
        if len(lines) != len(part):
            raise StageError(
                f"{kept / 'items.parquet'} has not {len(part)} answers on the {label} of "
                f"{_item(row)}: they were to other questions"
            )
        texts += lines
    return _judged(about, texts, params.run, out)


class _About(NamedTuple):
    """Test images' labels, by row of the probe set; each label's classes and probe; questions."""

    table: pd.DataFrame
    classes: dict[str, set[str]]
    known: dict[str, np.ndarray]
    asked: pd.DataFrame


def _about(inputs: dict[str, Path], count: int) -> _About:
    """What is asked on `count` of the probes' test images, and what the probe calls them."""
    table = pd.read_parquet(inputs["probes"] / "classify.parquet")
    labels = json.loads((inputs["probes"] / "probes.json").read_text())["classify"]["asked"]
    classes = {label: set(table[label]) for label in labels}
    test = np.flatnonzero(table["split"] == "test")
    table = table.iloc[test[vqa.evenly(count, len(test))]]
    known = {label: probed(inputs["classify"], table[label], label) for label in labels}
    return _About(table, classes, known, questions(table, labels))


def _judged(about: _About, texts: list[str], who: Any, out: Path) -> dict[str, float]:
    """Write items.parquet of the answers to all that is asked; returns its `summary`."""
    asked = about.asked.assign(raw=texts)
    parts = [
        score(about.table, label, asked[asked["label"] == label], about.known[label], classes)
        for label, classes in about.classes.items()
    ]
    scored = pd.concat(parts, ignore_index=True)
    signed(scored, who).to_parquet(out / "items.parquet", index=False)
    metrics = summary(scored)
    log.metric("forget/gap", metrics["forget/gap"], 0)
    return metrics


def probed(folder: Path, truth: pd.Series, label: str) -> np.ndarray:
    """What the ridge probe of a label calls some test images [N], from its items.

    truth: the label of each image, by its row in the probe set. Raises StageError where the probe
    was not asked about one of them, or had another truth.
    """
    rows = pd.read_parquet(folder / "items.parquet", columns=["instrument", "item", "raw", "truth"])
    rows = rows[rows["instrument"] == f"classify/{label}"].set_index("item")
    rows = rows.reindex([_item(row) for row in truth.index])
    if rows["truth"].tolist() != truth.tolist():
        raise StageError(
            f"{folder / 'items.parquet'}: its answers for {label} are not those about the probes' "
            "images: run the stage `classify` again"
        )
    return rows["raw"].to_numpy()


def _item(row: int) -> str:
    """The id that `classify` gives to an image of its set."""
    return f"classify-{row}"


def questions(table: pd.DataFrame, labels: Sequence[str]) -> pd.DataFrame:
    """Every question about some images (labels by row of the probe set), image by image.

    So the questions about one image come in one batch, which reads it once. Columns: row, label,
    prompt, form and choices.
    """
    rows = [
        (row, label, prompt(question, STYLE, FORM), FORM, question.choices)
        for row, seen in zip(table.index, table.to_dict("records"), strict=True)
        for label in labels
        for question in naming(label, {str(name): value for name, value in seen.items()})
    ]
    return pd.DataFrame(rows, columns=["row", "label", "prompt", "form", "choices"])


def score(
    table: pd.DataFrame, label: str, asked: pd.DataFrame, known: np.ndarray, classes: set[str]
) -> pd.DataFrame:
    """One row an image: what the model says of a label, and what its eye's probe does.

    asked: the label's `questions`, with the answers `raw`. known: the probe's answers [N].
    """
    rows = []
    for (row, part), probe in zip(asked.groupby("row", sort=False), known, strict=True):
        texts, truth = part["raw"].tolist(), table.at[row, label]
        read = named([lenient(t, c) for t, c in zip(texts, part["choices"], strict=True)])
        exact = named([strict(text, STYLE, FORM) for text in texts])
        rows.append(
            {
                "instrument": f"forget_{label}",
                "item": _item(row),
                "raw": "\n".join(texts),
                "strict": int(exact == truth),
                "lenient": int(read == truth),
                "answer": read if read in classes else None,
                "truth": truth,
                "probe": probe,
                "probe_right": int(probe == truth),
                "kind": label,
            }
        )
        if "novel" in table:
            rows[-1]["novel"] = bool(table.at[row, "novel"])
    return pd.DataFrame(rows)


def summary(scored: pd.DataFrame) -> dict[str, float]:
    """Shares of images for each label, `forget/<label>/...`, and their means, `forget/...`.

    said and probe: the model, and its eye's probe, are right. lost: the probe is and the model is
    not; gained: the other way round. gap: probe - said = lost - gained. none: the answer names no
    class of the label.
    """
    said, probe = scored["lenient"] == 1, scored["probe_right"] == 1
    shares = pd.DataFrame(
        {
            "said": said,
            "probe": probe,
            "lost": probe & ~said,
            "gained": said & ~probe,
            "gap": probe.astype(float) - said,
            "none": scored["answer"].isna(),
        }
    ).astype(float)
    means = shares.groupby(scored["kind"], sort=False).mean()
    found = {
        f"forget/{label}/{name}": float(value)
        for label, row in means.iterrows()
        for name, value in row.items()
    }
    return found | {f"forget/{name}": float(value) for name, value in means.mean().items()}
