"""Fresh training batches for the base's recipe: nothing is stored, nothing is seen twice.

Several questions share one image (or one textual twin): a prefix is followed by segments, each of
which sees the prefix and itself but no other segment, at the positions that it would have alone.
A packed row therefore gives the same losses as its questions asked one by one (tested), for one
pass over the prefix.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from steps.data import requests, speech
from steps.data.language import View, twin
from steps.data.paint import render
from steps.data.world import sample
from steps.models.tokenizer import EOS, IMAGE, Lexicon


@dataclass(frozen=True)
class Source:
    """What batches about images are drawn from; the parts' `Draw` say how, step by step."""

    world: Any
    recipe: Any
    lexicon: Lexicon
    patches: int


@dataclass
class Packed:
    """Token ids, positions, segment numbers (0 is the prefix, -1 padding) and labels [B, T]."""

    ids: np.ndarray
    positions: np.ndarray
    segments: np.ndarray
    labels: np.ndarray
    images: np.ndarray | None = None


def pack(rows: list[tuple[list[int], list[tuple[list[int], list[int]]]]]) -> Packed:
    """Rows of (prefix ids, [(prompt ids, response ids), ...]) as arrays padded on the right."""
    width = max(len(p) + sum(len(q) + len(r) for q, r in segs) for p, segs in rows)
    ids, positions = np.zeros((2, len(rows), width), np.int64)
    segments = np.full((len(rows), width), -1, np.int64)
    labels = np.full((len(rows), width), -100, np.int64)
    for i, (prefix, segs) in enumerate(rows):
        end = len(prefix)
        ids[i, :end], positions[i, :end], segments[i, :end] = prefix, np.arange(end), 0
        for number, (question, answer) in enumerate(segs, 1):
            start, end = end, end + len(question) + len(answer)
            ids[i, start:end] = question + answer
            positions[i, start:end] = len(prefix) + np.arange(end - start)
            segments[i, start:end] = number
            labels[i, start + len(question) : end] = answer
    return Packed(ids, positions, segments, labels)


def segments(view: View, lexicon: Lexicon, rng, recipe, kinds, count: int, captions: float) -> list:
    """`count` random requests about a scene, a share of them for captions: prompts, responses."""
    out = []
    for _ in range(8 * count):
        if len(out) == count:
            break
        asked = requests.request(view, rng, kinds, recipe.style_b, captions)
        if asked is not None:
            answer = lexicon.encode(asked.response) + [lexicon[EOS]]
            out.append((lexicon.encode(asked.prompt + " assistant :"), answer))
    return out


def seen(
    world,
    recipe,
    lexicon: Lexicon,
    rng: np.random.Generator,
    images: int,
    patches: int,
    kinds: tuple[str, ...] = (),
    split: str = "train",
) -> Packed:
    """A batch about images: `images` scenes with `recipe.image_questions` questions each.

    kinds: of these questions; without any, `requests.stage1`'s. split: of the scenes.
    """
    kinds = kinds or requests.stage1(speech.of(world))
    scenes = sample(world, rng, images, split)
    prefix = lexicon.encode("user :") + [lexicon[IMAGE]] * patches
    count, captions = recipe.image_questions, recipe.captions
    rows = [
        (prefix, segments(View(scenes, i), lexicon, rng, recipe, kinds, count, captions))
        for i in range(images)
    ]
    batch = pack(rows)
    batch.images = render(world, scenes)[0]
    return batch


def growing(world, share: float, step: int, steps: int) -> Any:
    """The world at a step of `steps`: from the fewest objects to all, over a `share` of them.

    With one object there is nothing to mix up, so that words are learnt before their binding.
    """
    low, most = world.objects
    reached = low + (most - low + 1) * step // max(1, round(share * steps))
    return world.model_copy(update={"objects": [low, min(most, reached)]})


def told(
    world,
    recipe,
    lexicon: Lexicon,
    rng: np.random.Generator,
    stories: int,
    kinds: tuple[str, ...] = (),
) -> Packed:
    """A text-only batch: the same questions about textual twins, and facts alone.

    kinds: of these questions; without any, `requests.told`'s.
    """
    kinds = kinds or requests.told(speech.of(world))
    scenes = sample(world, rng, stories, "train")
    rows, count = [], recipe.story_questions
    for i in range(stories):
        view = View(scenes, i)
        if rng.random() < 0.1:
            segs = segments(view, lexicon, rng, recipe, ("fact",), count, 0.0)
            rows.append((lexicon.encode("user :"), segs))
            continue
        story, view.pairs = twin(view, rng)
        prefix = lexicon.encode("user : " + story)
        segs = segments(view, lexicon, rng, recipe, kinds, count, recipe.captions)
        rows.append((prefix, segs))
    return pack(rows)
