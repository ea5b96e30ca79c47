"""From a row of somebody's data to an item that can be trained on, or the reason why not."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from steps.data.judge import choice, numeric
from steps.data.judge.announce import announced, answer
from steps.data.own.columns import ABSENT, found, value
from steps.data.own.source import Stored

SHORT = 10
"""Most words of an answer that is compared word for word where another reward may take it."""
TAKEN = {"fact", "caption"}
"""Kinds of the world's questions that some figures leave out."""
_TAG = re.compile(r"\s*<image>\s*")


@dataclass(slots=True)
class Item:
    """One question of a data set.

    image, mask: where they are. response: what SFT learns, and the chosen answer. value: the true
    answer, as `reward` compares it. box: as it stands, before the image is fitted.
    """

    id: str
    file: str
    row: int
    image: Path | Stored
    prompt: str
    response: str
    value: str
    reward: str
    kind: str
    choices: list[str]
    rejected: str | None = None
    mask: Path | None = None
    box: list[float] | None = None


class Left(Exception):
    """A row that is no item; the text is the reason, under which it is counted."""


def item(
    record: dict[str, Any], spec: Any, place: tuple[str, int], images: Path, most: int
) -> Item:
    """An Item of a row. Raises Left with the reason.

    place: the row's file and number. images: the folder of its image. most: characters of the
    question and its longest answer together.
    """
    told = {name: _value(record, path) for name, path in spec.columns.items()}
    prompt, tags = _plain(_text(told["prompt"]))
    image = _image(told["image"], images)
    if image is None:
        raise Left("no image")
    if tags > 1 or image is False:
        raise Left("several images")
    if not prompt:
        raise Left("no prompt")
    given = told.get("answer", ABSENT)
    chosen, rejected = (_text(told[name]) if name in told else None for name in PAIR)
    box = _box(told["box"]) if "box" in told else None
    response = _text(given) if chosen is None else chosen
    if box is not None and not response:
        response = "[{:.3f}, {:.3f}, {:.3f}, {:.3f}]"  # filled in once the image's size is known
    if not response:
        raise Left("no chosen answer" if chosen is not None else "no answer")
    if rejected is not None and not rejected:
        raise Left("no rejected answer")
    if rejected is not None and rejected == response:
        raise Left("chosen and rejected are the same")
    if any("<image>" in text for text in (response, rejected or "")):
        raise Left("an image's tag in an answer")
    if len(prompt) + max(len(response), len(rejected or "")) > most:
        raise Left("too long")
    mask = images / _text(told["mask"]) if _text(told.get("mask")) else None
    if mask is None and "mask" in told:
        raise Left("no mask")
    choices = _choices(told.get("choices"), prompt, spec.reward)
    truth = given if given is not ABSENT and given is not None else _read(response)
    reward, true = _judged(spec.reward, truth, choices, box)
    shown = response
    if chosen is None and reward == "choice" and not isinstance(given, str):
        shown = true  # a label's number is no answer to learn
    return Item(
        _name(told, place),
        *place,
        image,
        prompt,
        shown,
        true,
        reward,
        kind(told.get("kind")),
        choices if reward == "choice" else [],
        rejected,
        mask,
        box,
    )


PAIR = ("chosen", "rejected")


def turns(record: dict[str, Any], spec: Any) -> int:
    """How many questions of a conversation are left out, where the first one is taken."""
    path = str(spec.columns.get("prompt", ""))
    head, zero, _ = path.partition(".0.")
    talk = found(record, head) if zero else None
    return max(0, len(talk) // 2 - 1) if isinstance(talk, list) else 0


def kind(told: Any) -> str:
    """A kind's name as names of figures can hold it; `own` where none is told."""
    if told is None or told is ABSENT:
        return "own"
    name = re.sub(r"\W+", "_", str(told).strip().lower()).strip("_") or "own"
    return f"own_{name}" if name in TAKEN else name


def _value(record: dict[str, Any], told: Any) -> Any:
    return told if isinstance(told, list) else value(record, told)


def _text(told: Any) -> str:
    """A value as text: of several answers the commonest, as VQA's annotators gave them."""
    if told is None or told is ABSENT:
        return ""
    if isinstance(told, list):
        said = [_text(one.get("answer") if isinstance(one, dict) else one) for one in told]
        return Counter(said).most_common(1)[0][0] if said else ""
    return str(told).strip()


def _plain(prompt: str) -> tuple[str, int]:
    """A prompt without tags of images, which the processor sets itself; and how many it had."""
    return _TAG.sub("\n", prompt).strip(), len(_TAG.findall(prompt))


def _image(told: Any, images: Path) -> Path | Stored | None | bool:
    """Where an image is: None for none, False for several."""
    if isinstance(told, list):
        return _image(told[0] if told else None, images) if len(told) < 2 else False
    if isinstance(told, (str, Path)) and str(told).strip():
        return images / str(told).strip()
    if isinstance(told, Stored):
        return told
    if isinstance(told, dict) and told.get("path"):
        return images / str(told["path"])
    return None


def _name(told: dict[str, Any], place: tuple[str, int]) -> str:
    own = told.get("id")
    if own is None or own is ABSENT or not str(own).strip():
        return f"{Path(place[0]).with_suffix('').as_posix()}:{place[1]}"
    return str(own).strip()


def _box(told: Any) -> list[float] | None:
    try:
        box = [float(n) for n in told]
    except (TypeError, ValueError):
        raise Left("no box") from None
    if len(box) != 4 or not all(map(_finite, box)):
        raise Left("no box")
    if box[2] <= box[0] or box[3] <= box[1]:
        raise Left("an empty box")
    return box


def _finite(number: float) -> bool:
    return abs(number) < float("inf")


def _choices(told: Any, prompt: str, rewards: Iterable[str]) -> list[str]:
    if isinstance(told, dict):  # as datasets write a sequence of structs
        told = told.get("text", list(told.values()))
    if isinstance(told, list):
        return [str(one).strip() for one in told]
    return choice.listed(prompt) if "choice" in rewards else []


def _read(response: str) -> str:
    """The short answer in a longer one, by which it can be judged; all of it without one."""
    found = announced(response)
    return response if found is None else found


def _judged(
    rewards: tuple[str, ...], truth: Any, choices: list[str], box: list[float] | None
) -> tuple[str, str]:
    """The first reward that fits the true answer, and that answer as it is compared."""
    reason = "no answer that can be judged"
    text = answer(_text(truth))
    for reward in rewards:
        if reward == "choice":
            told = truth if isinstance(truth, (bool, int)) else text
            if len(choices) > 1 and (meant := choice.chosen(told, choices)) is not None:
                return reward, meant
            reason = "the answer is none of the choices" if choices else "no choices"
        elif reward == "numeric":
            if numeric.single(text) is not None and (len(rewards) == 1 or numeric.bare(text)):
                return reward, text
            reason = "the answer is not one number"
        elif reward == "iou":
            if box is not None:
                return reward, ""
            reason = "no box"
        elif reward == "exact":
            if len(rewards) == 1 or (text and len(text.split()) <= SHORT):
                return reward, text
        else:  # open, or a function of one's own
            return reward, text
    raise Left(reason if len(rewards) == 1 else "no answer that can be judged")
