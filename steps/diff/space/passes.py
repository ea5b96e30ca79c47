"""The passes of the stage `spatial`: two models read scenes in images and in words.

Pooled codes of all features are held for one reading of the scenes, of living features for the
others: for 600 scenes and 32,768 features 80 MB each at most, whatever the model.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from steps.diff import reading
from steps.diff.arrows import FINAL
from steps.diff.relations import OPPOSITE, Related
from steps.diff.sae import saved
from steps.diff.space import concepts
from steps.diff.space.baselines import READINGS
from steps.diff.space.follows import Cells
from steps.diff.space.pooled import Writer, pooled
from steps.models import load

RANDOM = 3  # dictionaries drawn at random
STOP = " ."  # said behind an answer: what a statement makes of itself is read there too
Loaded = dict[str, Any]
"""A dictionary (`saved.load`) of each site."""
Seen = dict[Any, dict[str, np.ndarray]]


class Reader:
    """A model that reads questions; what it gives is written down as `pooled` says."""

    def __init__(self, folder: Path, batch: int) -> None:
        self.model = load.vlm(folder).to(load.device())
        self.processor = load.processor(folder)
        self.batch = batch

    def read(
        self,
        prompts: Sequence[str],
        writers: dict[Any, Writer],
        images: np.ndarray | None = None,
        answers: Sequence[str] | None = None,
        stories: Sequence[str] | None = None,
    ) -> Seen:
        """Pooled codes of questions about images or stories, answered or not."""
        begun = None if answers is None else [answer + STOP for answer in answers]
        tokens = self.model.config.image_seq_length
        some = reading.asked(self.processor, tokens, prompts, begun, images, stories)
        return pooled(self.model, self.processor, some, writers, self.batch)


def loaded(folder: Path, name: str) -> Loaded:
    """The dictionary `name` of each site in the folder that has one, where the models are."""
    found: Loaded = {}
    for path in sorted(folder.glob(f"*/{name}")):
        one: Any = saved.load(path)
        found[path.parent.name] = one.to(load.device())
    return found


def plain(reader: Reader, related: Related, marks: Loaded, seed: int) -> Seen:
    """All codes of the questions: by site and FINAL, `raw` or a random dictionary's number."""
    writers: dict[Any, Writer] = {}
    for site, trained in marks.items():
        writers[site, FINAL] = Writer(site, trained.codes, ("question", "last"))
        writers[site, "raw"] = Writer(site, lambda x: x, READINGS)
        for draw in range(RANDOM):
            codes = concepts.random(trained, seed * RANDOM + draw)
            writers[site, draw] = Writer(site, codes, ("question",))
    return reader.read(list(related.table["prompt"]), writers, related.images)


def turned(
    reader: Reader,
    related: Related,
    dictionaries: Loaded,
    kept: dict[str, np.ndarray],
    ways: Sequence[str] = ("plain", "mirrored", "exchanged", "both"),
) -> dict[str, Cells]:
    """What each site's `kept` features do on questions as image and words change: `follows`.

    Of the sites that have such a dictionary.
    """
    writers = _writers(dictionaries, kept, "question")
    cells: dict[str, Cells] = {site: {} for site in writers}
    for name in ways if writers else ():
        asks = related.table["exchanged" if name in ("exchanged", "both") else "prompt"]
        images = related.mirrors if name in ("mirrored", "both") else related.images
        for site, some in reader.read(list(asks), writers, images).items():
            cells[site][name] = some["question"]
    return cells


def answered(
    reader: Reader, related: Related, dictionaries: Loaded, kept: dict[str, np.ndarray]
) -> dict[str, Cells]:
    """... and on true and false answers to them: the relation, and its opposite."""
    writers = _writers(dictionaries, kept, "answer")
    cells: dict[str, Cells] = {site: {} for site in writers}
    true = related.table["relation"]
    prompts = list(related.table["prompt"])
    for name, words in (("true", true), ("false", true.map(OPPOSITE))) if writers else ():
        for site, some in reader.read(prompts, writers, related.images, list(words)).items():
            cells[site][name] = some["answer"]
    return cells


def told(
    reader: Reader, related: Related, dictionaries: Loaded, kept: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Codes [N, kept] of the questions behind the scenes as stories; each is to have one."""
    writers = _writers(dictionaries, kept, "question")
    prompts, stories = list(related.table["prompt"]), list(related.table["story"])
    found = reader.read(prompts, writers, stories=stories) if writers else {}
    return {site: ways["question"] for site, ways in found.items()}


def _writers(dictionaries: Loaded, kept: dict[str, np.ndarray], way: str) -> dict[Any, Writer]:
    return {
        site: Writer(site, _some(dictionaries[site], some), (way,))
        for site, some in kept.items()
        if site in dictionaries
    }


def _some(trained: Any, features: np.ndarray) -> Any:
    def write(x: Tensor) -> Tensor:
        every = trained.codes(x)
        return every[:, torch.as_tensor(features, device=every.device)]

    return write
