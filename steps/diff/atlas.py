"""An atlas of features: one page to look at what a dictionary's features fire on.

The tuned model reads judged questions, which no dictionary was fitted on, with their images and
their reference answers; the features are those of dictionary MF (the order in which the model
changes first and the data last), on which cosines of both orders are drawn. Top scenes are by the
largest activation over image and question: the answer, which the reference gives away, is coloured
but does not count.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from steps.data.parse import lenient
from steps.diff import reading
from steps.diff.arrows import FINAL
from steps.diff.leaves import cards, known, shown, tops
from steps.diff.leaves.scenes import Card, Read
from steps.diff.reading import ANSWER, IMAGE, QUESTION
from steps.diff.sae import saved
from steps.models import load
from steps.models.look import Looked, square
from steps.stage import StageError
from steps.track import log

LABELS, WORDS, LENS = 5, 8, 7
"""How many labels, words fired on, and words promoted a card shows."""
BATCH = 64  # questions answered at once
SPARE = 4  # tokens that an answer may be longer than the longest reference


def run(params: Any, inputs: dict[str, Path], out: Path) -> dict[str, float]:
    """Write index.html, which needs no other file, and top.parquet, its scenes' activations.

    params.atlas: features (cards), scenes (a card), items (judged questions read). inputs: base,
    items, harvest, dictionary, compare; spatial and heads may be missing. top.parquet has a row for
    each feature, scene shown, and patch, word of the question or answer on which it fires: site,
    feature, rank, item, type, place (of patches in reading order, of words in the question or
    answer), value. Raises StageError where no feature is alive at any site, and where image tokens
    make no square.
    """
    want, seed = params.atlas, params.run.seed
    features = shown.tidy(pd.read_parquet(Path(inputs["compare"]) / "features.parquet"))
    spatial, heads = (_table(inputs, name) for name in ("spatial", "heads"))
    there = {s: Path(inputs["dictionary"]) / s / FINAL for s in features["site"].unique()}
    there = {site: folder for site, folder in there.items() if folder.is_dir()}
    picks = shown.choose(features[features["site"].isin(there)], spatial, want.features, seed)
    if picks.empty:
        raise StageError(
            f"no site has a living feature and a dictionary {FINAL}: leave atlas out of "
            "`instruments`, or give diff.sites whose dictionaries were fitted"
        )
    used = [site for site in there if site in set(picks["site"])]
    dictionaries = {site: saved.load(there[site]).to(load.device()) for site in used}
    table, pictures = _questions(Path(inputs["items"]), want.items)
    model = load.vlm(Path(inputs["base"]) / "instruct").to(load.device())
    processor = load.processor(Path(inputs["base"]) / "instruct")
    square(model, "atlas")
    said = [" ".join(text.split()) for text in table["response"]]
    tokens = model.config.image_seq_length
    some = reading.asked(processor, tokens, list(table["prompt"]), said, images=pictures)
    values = tops.fired(model, processor, some, dictionaries, picks)
    words = _texts(processor.tokenizer)
    lens = {s: _lens(model, s, d, picks, words) for s, d in dictionaries.items()}
    made = _cards(picks, table, some, values, lens, want.scenes)
    longest = int((some.types == ANSWER).sum(1).max()) + SPARE
    rows = sorted({row for card in made for row in card.scenes})
    read = Read(
        table, some, pictures, words, _said(model, processor, table, pictures, rows, longest)
    )
    title = f"Atlas of features · {params.run.base}, seed {seed}"
    page = cards.page(made, read, features, spatial, heads, title)
    (out / "index.html").write_text(page, encoding="utf-8")
    log.figure(out / "index.html")
    _facts(made, read).to_parquet(out / "top.parquet", index=False)
    return _metrics(made, table)


def _cards(
    picks: pd.DataFrame,
    table: pd.DataFrame,
    some: reading.Asked,
    values: np.ndarray,
    lens: dict[str, dict[int, tuple[list, list]]],
    scenes: int,
) -> list[Card]:
    """A card for each feature of `picks`, whose activations are values [N, P, picks]."""
    seen = tops.largest(values, some, (IMAGE, QUESTION))
    best = known.best(table, seen, tops.largest(values, some, (IMAGE,)), LABELS)
    made = []
    for number, row in enumerate(picks.itertuples(index=False)):
        rows, own = tops.scenes(table, seen[:, number], scenes), values[:, :, number]
        up, down = lens[row.site][row.feature]
        card = Card(
            row=row,
            values=own,
            scenes=rows,
            top=float(own[rows].max()) if rows else 0.0,
            fires=int((seen[:, number] > 0).sum()),
            labels=best[best["number"] == number],
            words=tops.words(own, some).head(WORDS),
            means=tops.places(own, some),
            up=up,
            down=down,
        )
        made.append(card)
    return made


def _table(inputs: dict[str, Path], name: str) -> pd.DataFrame | None:
    path = Path(inputs[name]) / f"{name}.parquet" if inputs.get(name) else None
    return pd.read_parquet(path) if path and path.is_file() else None


def _questions(items: Path, count: int) -> tuple[pd.DataFrame, np.ndarray]:
    """At most `count` judged questions, spread over the table, and their images [N, H, W, 3]."""
    table = pd.read_parquet(items / "vqa.parquet")
    rows = np.linspace(0, len(table) - 1, min(count, len(table))).astype(int)
    table = table.iloc[rows].reset_index(drop=True)
    images = np.load(items / "vqa_images.npy", mmap_mode="r", allow_pickle=False)
    return table, np.array(images[table["image"].to_numpy()])


def _texts(tokenizer: Any) -> dict[int, str]:
    ids = sorted(tokenizer.get_vocab().values())
    return dict(zip(ids, tops.pieces(tokenizer, ids), strict=True))


def _lens(
    model: Any, site: str, found: Any, picks: pd.DataFrame, words: dict[int, str]
) -> dict[int, tuple[list, list]]:
    """For each feature shown of a site, the words promoted most and least, with their logits."""
    features = picks.loc[picks["site"] == site, "feature"].tolist()
    logits = tops.promoted(model, site, found.weights["W_dec"][features])
    logits = logits[:, : max(words) + 1]  # embeddings may be padded beyond the vocabulary
    ways = []
    for sign in (1, -1):
        order = torch.argsort(-sign * logits, dim=1, stable=True)[:, :LENS]
        ways.append([[(words.get(int(i), ""), float(row[i])) for i in ids] for row, ids in
                     zip(logits, order, strict=True)])  # fmt: skip
    return dict(zip(features, zip(*ways, strict=True), strict=True))


def _said(
    model: Any,
    processor: Any,
    table: pd.DataFrame,
    pictures: np.ndarray,
    rows: list[int],
    longest: int,
) -> dict[int, tuple[str, bool]]:
    """The model's own greedy answers to the questions shown, and whether they are right."""
    told: dict[int, tuple[str, bool]] = {}
    for start in range(0, len(rows), BATCH):
        part = rows[start : start + BATCH]
        looked = Looked(model, processor, pictures[part])
        texts = looked.answers(table["prompt"].iloc[part].tolist(), longest)
        for row, text in zip(part, texts, strict=True):
            item = table.iloc[row]
            told[row] = text, lenient(text, item["choices"]) == item["value"]
    return told


def _facts(made: list[Card], read: Read) -> pd.DataFrame:
    """What the page's pictures and words are coloured by."""
    names = {IMAGE: "image", QUESTION: "question", ANSWER: "answer"}
    rows = []
    for card in made:
        for rank, i in enumerate(card.scenes):
            types = read.some.types[i].numpy()
            for kind, name in names.items():
                own = card.values[i][types == kind]
                rows += [
                    (card.row.site, card.row.feature, rank, read.table["item"][i], name, place, v)
                    for place, v in enumerate(own.tolist())
                    if v > 0
                ]
    columns = ["site", "feature", "rank", "item", "type", "place", "value"]
    return pd.DataFrame(rows, columns=columns)


def _metrics(made: list[Card], table: pd.DataFrame) -> dict[str, float]:
    """Counts, and the median AUROC of the best label by group; that of an empty group is left out.

    auroc/<group>: chosen on one half of the scenes, reported on the other; compare with the foils.
    """
    found: dict[str, float] = {
        "features": len(made),
        "questions": len(table),
        "silent": sum(card.fires == 0 for card in made),
        "corner": sum(bool(card.row.corner) for card in made),
    }
    for name in shown.GROUPS:
        group = [card for card in made if card.row.why == name]
        found[f"shown/{name}"] = len(group)
        best = [card.labels["auroc"].iloc[0] for card in group if len(card.labels)]
        if best:
            found[f"auroc/{name}"] = float(np.median(best))
    return {f"atlas/{name}": float(value) for name, value in found.items()}
