"""Question answering: what a model says, scored leniently and strictly, with and without sight.

Lenient accuracy is primary: it asks whether the answer is right, not how it is put. Strict
accuracy also wants the form that the prompt asked for; what lies between the two is format. The
same questions with a grey image, or with another question's image, tell what needs no looking.
The margin is the log-odds of the true answer over its closed set, a continuous measure that moves
before accuracy does. The ladder goes from questions like those trained on to new combinations and
on to `steps.data.far`.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from steps.behaviour import coherence
from steps.behaviour.margin import margins
from steps.data.judge.judge import Judge
from steps.models import load
from steps.models.look import Looked
from steps.stage import StageError
from steps.track import log
from steps.whose import signed

GREY = 127


def run(params, inputs, out: Path) -> dict[str, float]:
    """Ask, score, and keep every answer in items.parquet; returns accuracies as shares."""
    vqa, who = params.vqa, params.run
    table, shown = questions(inputs["items"], vqa.items)
    model = load.vlm(inputs["model"]).to(load.device())
    processor = load.processor(inputs["model"])
    judge = Judge(inputs["items"])
    views = {"vqa": (table, shown)}
    if vqa.blind:
        some = table.iloc[: vqa.blind]
        views["vqa_grey"] = some, np.full_like(shown[: vqa.blind], GREY)
        views["vqa_swapped"] = some, swapped(table, shown)[: vqa.blind]
    if vqa.items == "vqa" and (inputs["items"] / "far.parquet").exists():  # none for items.far: 0
        views["vqa_far"] = questions(inputs["items"], "far")
    parts = []
    for instrument, (rows, pictures) in views.items():
        margin = vqa.margin and instrument == "vqa"
        texts, odds = ask(model, processor, rows, pictures, vqa.batch, vqa.max_tokens, margin)
        parts.append(judged(instrument, rows, texts, judge, odds if margin else None))
        log.metric(f"{instrument}/lenient", parts[-1]["lenient"].mean(), 0)
    return _written(parts, who, out)


def rescored(params, inputs, kept: Path, out: Path) -> dict[str, float]:
    """What `run` writes and returns, from the answers and margins in the folder `kept`.

    inputs: items alone. Raises StageError for answers to other questions than theirs.
    """
    vqa, judge, parts = params.vqa, Judge(inputs["items"]), []
    whole = pd.read_parquet(kept / "items.parquet")
    for instrument, part in whole.groupby("instrument", sort=False):
        name = "far" if instrument == "vqa_far" else vqa.items
        rows = known(inputs["items"], name, part["item"])
        odds = part["margin"].to_numpy() if vqa.margin and instrument == "vqa" else None
        parts.append(judged(str(instrument), rows, part["raw"].tolist(), judge, odds))
    return _written(parts, params.run, out)


def _written(parts: list[pd.DataFrame], who, out: Path) -> dict[str, float]:
    scored = pd.concat(parts, ignore_index=True)
    signed(scored, who).to_parquet(out / "items.parquet", index=False)
    return summary(scored)


def known(items: Path, name: str, ids: pd.Series) -> pd.DataFrame:
    """The rows of a table of questions that these items are, in their order.

    Raises StageError where one of them is not in it.
    """
    table = pd.read_parquet(items / f"{name}.parquet")
    at = pd.Index(table["item"]).get_indexer(ids)
    if (at < 0).any():
        raise StageError(
            f"{items}/{name}.parquet has no question {ids.iloc[at.argmin()]}, which was answered: "
            "these are other items"
        )
    return table.iloc[at].reset_index(drop=True)


def questions(items: Path, name: str) -> tuple[pd.DataFrame, np.ndarray]:
    """A table of questions, and the image of each, uint8 [N, H, W, 3]."""
    table = pd.read_parquet(items / f"{name}.parquet")
    images = np.load(items / f"{name}_images.npy", mmap_mode="r")
    return table, images[table["image"].to_numpy()]


def evenly(count: int, of: int) -> np.ndarray:
    """Numbers of at most `count` of `of` questions, spread over the table.

    Questions about combinations never trained on stand last: the same share of them is kept.
    """
    return np.linspace(0, of - 1, min(count, of)).astype(int)


def swapped(table: pd.DataFrame, pictures: np.ndarray) -> np.ndarray:
    """Every question with the image of another question of its kind, never its own."""
    order = np.arange(len(table))
    for rows in table.groupby("kind").indices.values():
        order[rows] = np.roll(rows, 1)
    shown = table["image"].to_numpy()
    for row in np.flatnonzero(shown[order] == shown):  # several questions may be about one image
        others = np.flatnonzero(np.roll(shown, -row) != shown[row])
        if len(others):
            order[row] = (others[0] + row) % len(table)
    return pictures[order]


def ask(
    model, processor, rows, pictures, batch: int, max_tokens: int, margin: bool = False
) -> tuple[list[str], np.ndarray]:
    """The model's greedy answers to `rows` (an items table) about `pictures` [N, H, W, 3].

    Returns texts [N] and, where `margin`, the margins of the true answers, float [N] (else NaN).
    Questions are asked in batches of one form each, since one-word answers need no long decoding.
    """
    texts, odds = [""] * len(rows), np.full(len(rows), np.nan)
    for some in batches(rows["form"], batch):
        part, seen = rows.iloc[some], Looked(model, processor, pictures[some])
        said = seen.answers(part["prompt"].tolist(), max_tokens)
        for i, text in zip(some, said, strict=True):
            texts[i] = text
        if margin:
            odds[some] = margins(seen, part)
    return texts, odds


def batches(forms: pd.Series, size: int) -> Iterator[np.ndarray]:
    """Positions of rows, at most `size` at once, in batches of one form each."""
    order = np.argsort(forms.to_numpy(), kind="stable")
    for form in sorted(set(forms)):
        rows = order[forms.to_numpy()[order] == form]
        yield from (rows[i : i + size] for i in range(0, len(rows), size))


def judged(
    instrument: str,
    rows: pd.DataFrame,
    texts: list[str],
    judge: Judge,
    odds: np.ndarray | None = None,
) -> pd.DataFrame:
    """The rows of items.parquet of one instrument: `score`, what rationales are worth, margins."""
    part = score(rows, texts, judge)
    if instrument in ("vqa", "vqa_far"):
        part = part.join(coherence.judged(rows, texts))
    part.insert(0, "instrument", instrument)
    return part if odds is None else part.assign(margin=odds)


def score(rows: pd.DataFrame, texts: list[str], judge: Judge | None = None) -> pd.DataFrame:
    """One row an answer: raw, strict, lenient (0 or 1), answer (as read leniently), well_formed.

    judge: of the questions' folder, where they are not the world's; a reward of one's own may give
    what lies between 0 and 1, and what it gives that is not finite counts 0.
    """
    judge, asked = judge or Judge(), list(rows.itertuples())
    part = rows[["item"]].reset_index(drop=True)
    part["raw"] = texts
    forms = [judge.strict(row, text) for row, text in zip(asked, texts, strict=True)]
    part["strict"] = _plain([value for _, value in forms])
    part["lenient"] = _plain(judge.scores(asked, texts))
    part["well_formed"] = [int(formed) for formed, _ in forms]
    part["answer"] = [judge.read(row, text) for row, text in zip(asked, texts, strict=True)]
    for name in ("kind", "form", "style", "value", "novel"):
        part[name] = rows[name].to_numpy()
    return part


def _plain(values: list[float] | np.ndarray) -> np.ndarray:
    """Scores as whole numbers, where they are that."""
    found = np.nan_to_num(np.asarray(values, float), posinf=0.0, neginf=0.0)
    whole = found.astype(int)
    return whole if (whole == found).all() else found


def summary(scored: pd.DataFrame) -> dict[str, float]:
    """Flat metrics of a scored table: overall, by kind, by form, blind, far, and the margin.

    Blind figures leave out facts, which need no image; those of `coherence` and `ladder` too.
    """
    seen = scored[scored["instrument"] == "vqa"]
    metrics = {
        "vqa/lenient": seen["lenient"].mean(),
        "vqa/strict": seen["strict"].mean(),
        "vqa/ill_formed": 1 - seen["well_formed"].mean(),
    }
    for column in ("kind", "form", "style"):
        for name, rows in seen.groupby(column):
            metrics[f"vqa/{column}/{name}/lenient"] = rows["lenient"].mean()
            metrics[f"vqa/{column}/{name}/strict"] = rows["strict"].mean()
    if bool(seen["novel"].any()):
        metrics["vqa/novel/lenient"] = seen.loc[seen["novel"], "lenient"].mean()
    for blind in ("grey", "swapped"):
        rows = scored[(scored["instrument"] == f"vqa_{blind}") & (scored["kind"] != "fact")]
        if len(rows):
            metrics[f"vqa/{blind}/lenient"] = rows["lenient"].mean()
        for name, part in rows.groupby("kind"):
            metrics[f"vqa/{blind}/kind/{name}/lenient"] = part["lenient"].mean()
    metrics |= ladder(scored)
    metrics |= {f"vqa/coherence/{k}": v for k, v in coherence.figures(seen).items()}
    if "margin" in seen and bool(seen["margin"].notna().all()):
        metrics["vqa/margin"] = seen["margin"].mean()
    return {name: float(value) for name, value in metrics.items()}


def ladder(scored: pd.DataFrame) -> dict[str, float]:
    """Lenient shares on each step away from training, facts left out; no figure without a step.

    1: judged questions without, 2: with a new combination; 3: far ones, also kind by kind (facts
    too: they tell what the new wording does by itself) and with the coherence of rationales.
    """
    seen = scored[scored["instrument"] == "vqa"]
    far = scored[scored["instrument"] == "vqa_far"]
    steps = [seen[~seen["novel"]], seen[seen["novel"]], far]
    found = {
        f"vqa/ladder/{number}/lenient": rows.loc[rows["kind"] != "fact", "lenient"].mean()
        for number, rows in enumerate(steps, 1)
        if len(steps[1]) or len(far)
    }
    for name, rows in far.groupby("kind"):
        found[f"vqa/far/kind/{name}/lenient"] = rows["lenient"].mean()
    found |= {f"vqa/far/coherence/{k}": v for k, v in coherence.figures(far).items()}
    return {name: float(value) for name, value in found.items() if value == value}
