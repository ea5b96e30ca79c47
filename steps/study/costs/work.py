"""What a job does, in the units that a device's speed is told in, and how passes come to it."""

from dataclasses import dataclass, fields, replace
from math import ceil
from types import SimpleNamespace
from typing import Any

from steps.posttrain import budget
from steps.posttrain.budget import Passes
from steps.study.costs import formulas
from steps.study.costs.shapes import Shape
from steps.study.costs.talk import Talk

NAMED = {"tower": "vision_tower", "projector": "multi_modal_projector", "language": "language"}
"""A parameter's name in each part, by which `steps.posttrain.budget` knows it."""
KEPT = 0.75
"""Share of questions that the base misses at least once in its draws, and that arms train on. It is
known once `pairs` has run: the bundled base keeps 0.69 of 64 and 0.76 of 1,500."""


@dataclass(frozen=True)
class Work:
    """Amounts, each of which a device has a speed for.

    read, train, decode, fit, probe, muon: FLOPs of forward passes, of passes with gradients, of
    sampling token by token, of dictionaries, of probes, and of Muon's steps in bfloat16. calls:
    layers run one after the other. scenes: drawn and painted. items: made ready for a trainer.
    streamed: bytes of weights and of cached keys that sampling reads. fixed: seconds that were
    measured and follow from no size. disk: bytes kept; spare: bytes that are there while it runs.
    start: what a process has to import (`machine`). counted: FLOPs as the metric `budget/flops`
    counts them, of an arm's training.
    """

    read: float = 0.0
    train: float = 0.0
    decode: float = 0.0
    fit: float = 0.0
    probe: float = 0.0
    muon: float = 0.0
    calls: float = 0.0
    scenes: float = 0.0
    items: float = 0.0
    streamed: float = 0.0
    fixed: float = 0.0
    disk: float = 0.0
    spare: float = 0.0
    counted: float = 0.0
    start: str = ""

    def __add__(self, other: "Work") -> "Work":
        added = {name: getattr(self, name) + getattr(other, name) for name in AMOUNTS}
        return Work(**added, start=self.start or other.start)

    def times(self, count: float) -> "Work":
        """The same, `count` times over."""
        return replace(self, **{name: count * getattr(self, name) for name in AMOUNTS})

    @property
    def flops(self) -> float:
        """FLOPs of all kinds."""
        return sum(getattr(self, name) for name in FLOPS)


FLOPS = ("read", "train", "decode", "fit", "probe", "muon")
AMOUNTS = [field.name for field in fields(Work) if field.name != "start"]


@dataclass(frozen=True)
class Case:
    """Whose job it is: the study's params, a base's shape and talk, an arm and its own section.

    photos: whether cut-out photographs are there for the probes.
    """

    params: Any
    shape: Shape
    talk: Talk
    arm: str | None = None
    told: Any = None
    photos: bool = False

    @property
    def kept(self) -> float:
        """Training questions that arms learn from."""
        return (1.0 if self.params.data.paired else KEPT) * self.params.items.train

    @property
    def prompt(self) -> float:
        """Tokens of a question with its image."""
        return self.shape.tokens + self.talk.asked

    @property
    def whole(self) -> float:
        """Tokens of a question with its image and answer."""
        return self.prompt + self.talk.said

    def trained(self, parts: Any) -> dict[str, float]:
        """Parameters that are trained by part: all of `parts`, or their adapters (train.lora)."""
        rank = self.params.train.lora.rank
        sizes = self.shape.adapters(rank) if rank else self.shape.sizes
        return {name: sizes[name] * (name in parts) for name in budget.PARTS}


def read(case: Case, count: float, tokens: float, images: float, batch: float) -> Work:
    """Forward passes over `count` rows of `tokens` with `images` images each, `batch` at a time."""
    flops, beside = _counted(case, count * tokens, count * images, (), tokens)
    calls = ceil(count / batch) * _layers(case, tokens, images)
    return Work(read=flops + beside, calls=calls, counted=flops)


def train(
    case: Case,
    count: float,
    tokens: float,
    images: float,
    batch: float,
    parts: Any,
    seen: float = 0,
) -> Work:
    """Passes with gradients, `parts` trained; seen: tokens that one attends to (default: all).

    With train.recompute the layers' forward passes are run twice.
    """
    flops, beside = _counted(case, count * tokens, count * images, parts, seen or tokens)
    again = case.params.train.recompute
    once = read(case, count, tokens, images, batch)
    calls = (3 + again) * once.calls
    return Work(train=flops + 3 * beside + again * once.read, calls=calls, counted=flops)


def decode(
    case: Case, questions: float, draws: float, batch: float, longest: float, said: float = 0
) -> Work:
    """Answers drawn token by token: `draws` to each question, which is read once.

    longest: tokens after which an answer is cut. said: mean length (default: the talk's).
    """
    talk, language = case.talk, case.shape.language
    mean = min(said or talk.said, longest)
    steps = min(longest, talk.longest if not said else said) * ceil(questions / batch)
    first = read(case, questions, case.prompt, 1, batch)
    flops, beside = _counted(case, questions * draws * mean, 0, (), case.prompt + mean / 2)
    held = formulas.cache(language, batch * draws * (case.prompt + mean / 2))
    weights = 4.0 * case.shape.sizes["language"]
    sampled = Work(
        decode=flops + beside,
        calls=steps * language.layers,
        streamed=steps * (weights + held),
        counted=flops,
    )
    return first + sampled


def _counted(
    case: Case, tokens: float, images: float, parts: Any, seen: float
) -> tuple[float, float]:
    """FLOPs by the rule of `budget.spent`, and those of attention, forward."""
    passes, moved = Passes(round(tokens), round(images)), case.trained(parts)
    rows = []  # parameters as `budget` wants to see them: by name, with a size
    for part, size in case.shape.counted.items():
        for count, trains in ((size - moved[part], False), (moved[part], True)):
            rows.append(
                (NAMED[part], SimpleNamespace(numel=lambda n=count: n, requires_grad=trains))
            )
    config = SimpleNamespace(image_seq_length=case.shape.patches)
    model = SimpleNamespace(named_parameters=lambda: iter(rows), config=config)
    found = budget.spent(model, 0, **{"trained" if parts else "reference": passes})
    patches, tower = case.shape.patches, case.shape.tower
    beside = formulas.attention(case.shape.language, tokens, seen)
    beside += formulas.attention(tower, images * patches, patches)
    return found["budget/flops"], beside


def _layers(case: Case, tokens: float, images: float) -> int:
    own = case.shape.language.layers if tokens else 0
    return own + (case.shape.tower.layers if images else 0)
