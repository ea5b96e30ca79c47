"""The questions of one seed: to train on, to go on with stage 1, to tune on, and to be judged on.

Kinds come in equal number and, within a kind, answers as evenly as the scenes allow, so that a
model that does not look cannot beat the best single answer by much. Every question has a scene of
its own. Training questions never show a held-out combination; a share of the judged ones does.
"""

import json
from collections import Counter
from collections.abc import Callable
from math import ceil
from pathlib import Path

import numpy as np
import pandas as pd

from steps.data import world as scenes_of
from steps.data.digest import written
from steps.data.far import crowded, reworded
from steps.data.language import View, contents
from steps.data.paint import LETTER, boxes, classes, owners, render
from steps.data.questions import FORMS, Question, ask, prompt
from steps.data.requests import Request, put, request
from steps.data.requests import stage1 as mixture
from steps.data.speech import of
from steps.stage import StageError
from steps.track import log

BATCH = 512
"""Scenes drawn at a time."""
PATIENCE = 60
"""Batches without which an even spread of answers is given up for the kinds still short."""


def run(params, inputs, out: Path) -> dict[str, float]:
    """Write train, stage1, tune, vqa and far questions: a table and images of each.

    train_maps.npy says which shape, or which category of photographs, each pixel of a training
    image belongs to (`Speech.maps`). Where items.far is 0 there are no files of that name. Where
    params.data says so the questions are those of files (`steps.data.own.write`).
    """
    if params.data.source == "files":
        from steps.data.own import write

        return write.run(params, inputs, out)
    items, world, seed = params.items, params.world, params.run.seed
    novel = round(items.novel_share * items.vqa)
    sets = {  # name: [(how many, split, novel?, share of style b)]
        "train": [(items.train, "train", False, items.style_b)],
        "tune": [(items.tune, "tune", False, items.style_b)],
        "vqa": [
            (items.vqa - novel, "test", False, items.style_b),
            (novel, "test", True, items.style_b),
        ],
    }
    metrics: dict[str, float] = {}
    for number, (name, parts) in enumerate(sets.items()):
        rng = np.random.default_rng([seed, number])
        rows, images, maps = [], [], []
        for count, split, wants_novel, style_b in parts:
            if count:
                part, scenes = draw(world, rng, count, split, wants_novel, style_b)
                for row in part:
                    row["image"] += sum(map(len, images))
                rows += part
                shown, owner = render(world, scenes)
                images.append(shown)
                maps.append(classes(owner, scenes.shape))
        table = _write(out, name, seed, rows, np.concatenate(images))
        if name == "train":
            np.save(out / f"{name}_maps.npy", np.concatenate(maps))
        metrics[f"{name}/prior"] = prior(table)
    rng = np.random.default_rng([seed, len(sets)])
    rows, scenes = stage1(world, rng, items.stage1, items.stage1_style_b, items.stage1_captions)
    _write(out, "stage1", seed, rows, render(world, scenes)[0])
    if items.far:
        rng, wide = np.random.default_rng([seed, len(sets) + 1]), crowded(world)
        rows, scenes = draw(wide, rng, items.far, "test", True, items.style_b, reworded)
        metrics["far/prior"] = prior(_write(out, "far", seed, rows, render(wide, scenes)[0]))
    return metrics | {f"{name}/items": getattr(items, name) for name in (*sets, "stage1", "far")}


def _write(out: Path, name: str, seed: int, rows: list[dict], images: np.ndarray) -> pd.DataFrame:
    table = pd.DataFrame(rows)
    table.insert(0, "item", [f"{name}-{seed}-{i:05d}" for i in range(len(table))])
    table.to_parquet(out / f"{name}.parquet", index=False)
    np.save(out / f"{name}_images.npy", images)
    log.dataset(name, digest=written(out, name), context=name)
    return table


def prior(table: pd.DataFrame) -> float:
    """Accuracy of saying each kind's most frequent answer: what one can know without looking."""
    best = table.groupby("kind")["value"].agg(lambda v: v.value_counts().iloc[0])
    return float(best.sum() / len(table))


def draw(
    world,
    rng: np.random.Generator,
    count: int,
    split: str,
    novel: bool,
    style_b: float,
    worded: Callable[[Question, str, str], str] = prompt,
) -> tuple[list[dict], scenes_of.Scenes]:
    """`count` questions about as many scenes of a split, put into words by `worded`.

    Returns rows (dicts of the columns of items' tables) and the Scenes they are about, in the
    same order; row["image"] counts from 0, row["boxes"] frames what is to be seen of the objects
    asked about (`paint.boxes`), row["truth"] is `truth`. With `novel`, every scene holds what
    training never shows: a combination of shape, colour and texture, or a photograph. Raises
    StageError if the world's scenes do not allow the questions.
    """
    kinds = of(world).kinds
    quota = {k: count // len(kinds) + (i < count % len(kinds)) for i, k in enumerate(kinds)}
    done: dict[str, Counter] = {k: Counter() for k in kinds}
    rows, kept, about, tries = [], [], [], 0
    while len(rows) < count:
        tries += 1
        if tries > 4 * PATIENCE:
            short = ", ".join(k for k in kinds if done[k].total() < quota[k])
            raise StageError(
                f"the world's scenes allow too few questions of kind {short}: "
                "raise world.objects, world.letter_share or world.repeat"
            )
        scenes = scenes_of.sample(world, rng, BATCH, split, novel)
        usable = has_novel(scenes) if novel else np.ones(BATCH, bool)
        for i in np.flatnonzero(usable):
            view = View(scenes, i)
            question = _next(view, rng, quota, done, tries <= PATIENCE)
            if question is None:
                continue
            done[question.kind][question.value] += 1
            style = "b" if rng.random() < style_b else "a"
            asked = put(question, style, FORMS[rng.integers(len(FORMS))], worded)
            rows.append(_row(asked, len(rows), novel) | {"truth": truth(view, question)})
            about.append((LETTER,) if question.kind == "glyph" else question.objects)
            kept.append(scenes.take(np.array([i])))
            if len(rows) == count:
                break
    found = scenes_of.join(kept)
    for row, owner, objects in zip(rows, owners(world, found), about, strict=True):
        row["boxes"] = boxes(owner, objects)
    return rows, found


def truth(view: View, question: Question) -> str:
    """What statements about a question's scene are judged by, as JSON text.

    Keys: things (`language.contents`), about (the noun phrases that the question names), canvas
    (its side in pixels).
    """
    about = list(question.subject) or ["letter"]
    return json.dumps({"things": contents(view), "about": about, "canvas": view.canvas})


def stage1(
    world, rng: np.random.Generator, count: int, style_b: float, captions: float
) -> tuple[list[dict], scenes_of.Scenes]:
    """`count` requests in the mixture that made the base, each with a training scene of its own.

    Returns rows and Scenes as `draw` does; a caption is of kind `caption` and has no choices.
    """
    rows, kept, kinds = [], [], mixture(of(world))
    while len(rows) < count:
        scenes = scenes_of.sample(world, rng, BATCH, "train")
        for i in range(BATCH):
            if len(rows) == count:
                break
            asked = request(View(scenes, i), rng, kinds, style_b, captions)
            if asked is not None:
                rows.append(_row(asked, len(rows), novel=False))
                kept.append(scenes.take(np.array([i])))
    return rows, scenes_of.join(kept)


def has_novel(s: scenes_of.Scenes) -> np.ndarray:
    """Whether a scene shows a held-out combination, or a photograph of the test's; bool [N]."""
    if s.bank:
        tested = np.array(s.bank.splits) == "test"
        return (tested[s.photo] & (s.photo >= 0)).any(1)
    return (scenes_of.held_out(s.shape, s.color, s.texture) & (s.shape >= 0)).any(1)


def _next(view: View, rng, quota, done, evenly: bool) -> Question | None:
    """A question of the kind that is furthest behind, None if this scene has no wanted answer."""
    behind = [k for k in quota if done[k].total() < quota[k]]
    kind = min(behind, key=lambda k: (done[k].total() / quota[k], rng.random()))
    question = ask(view, kind, rng)
    if question is None:
        return None
    if evenly and kind != "fact":
        most = ceil(quota[kind] / len(question.choices))
        return question if done[kind][question.value] < most else None
    return question


def _row(asked: Request, image: int, novel: bool) -> dict:
    q = asked.question
    return {
        "image": image,
        "scene": image,
        "kind": q.kind if q else "caption",
        "form": asked.form,
        "style": asked.style,
        "prompt": asked.prompt,
        "response": asked.response,
        "value": q.value if q else "",
        "choices": list(q.choices) if q else [],
        "depends": asked.depends,
        "novel": novel,
    }
