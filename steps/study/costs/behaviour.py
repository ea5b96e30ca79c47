"""What it takes to ask a model, and to look at how it answers."""

from math import ceil

from steps.study.costs.work import Case, Work, decode, read

CHOICES = 6
"""Answers in a closed set, about: what a margin asks for."""
QUESTIONS = 8
"""Questions about one image of the probes that name its labels."""
CUTS = 3
"""Ways to block attention: anchors, random tokens and the lowest ones."""
WAYS = 2
"""Ways to choose which of an image's tokens are kept."""

LOGGED, DISK = 3.0, 2e6
"""Seconds and bytes of a benchmark of some 5,000 answers, to read and to keep."""


def answers(case: Case, count: float, batch: int, longest: int, margin: bool = False) -> Work:
    """Greedy answers in batches; the margin reads what follows the image once a question."""
    work = decode(case, count, 1, batch, longest)
    if margin:
        work += read(case, count, case.talk.asked, 0, batch)
    return work


def vqa(case: Case) -> Work:
    """All questions, some with a grey and a swapped image, and the ladder's last step."""
    told, made = case.params.vqa, case.params.items
    count = made.vqa if told.items == "vqa" else made.tune
    work = answers(case, count, told.batch, told.max_tokens, told.margin)
    more = 2 * min(told.blind, count) + made.far * (told.items == "vqa")
    if more:
        work += answers(case, more, told.batch, told.max_tokens)
    return work + Work(disk=500.0 * (count + more), start="model")


def sharpen(case: Case) -> Work:
    """Several answers to each question."""
    told = case.params.sharpen
    work = decode(case, told.items, told.draws, told.batch, told.max_tokens)
    return work + Work(disk=1000.0 * told.items, start="model")


def tokens(case: Case) -> Work:
    """Frozen answers, behind their image and a spoilt one, and behind the scene in words."""
    told = case.params.tokens
    seen = 3 if case.arm == "none" else 2
    work = read(case, seen * told.items, case.whole, 1, told.batch)
    work += read(case, told.items, case.talk.told + case.talk.asked + case.talk.said, 0, told.batch)
    return work + Work(start="trainer")


def gaze(case: Case) -> Work:
    """Frozen answers whole, and with each intervention: attention, image tokens, heads."""
    told = case.params.gaze
    cuts = CUTS + WAYS * len(told.kept) + 0.5 * (1 + told.draws) + (case.arm == "none")
    work = read(case, told.items * (1 + cuts), case.whole, 1, told.batch)
    return work + Work(start="model")


def swap(case: Case) -> Work:
    """The eight models of base's and arm's parts, and merges."""
    told = case.params.swap
    models = 8 + 2 * len(told.merges)
    one = answers(case, told.items, told.batch, told.max_tokens, told.margin)
    return one.times(models) + Work(start="model")


def forget(case: Case) -> Work:
    """Questions for the labels of each image, one word each."""
    told = case.params.forget
    asked = told.images * QUESTIONS
    work = decode(case, asked, 1, told.batch, told.max_tokens, said=2)
    again = ceil(asked - told.images)  # an image is read once for all of them
    return work + read(case, again, 0, 1, told.batch).times(-1) + Work(start="model")


def logged(case: Case) -> Work:
    """Logged answers, read and judged: no model is asked."""
    count = len(case.params.benchmarks)
    return Work(fixed=LOGGED * count, disk=DISK * count, start="data")


COSTS = {
    "vqa": vqa,
    "sharpen": sharpen,
    "tokens": tokens,
    "gaze": gaze,
    "swap": swap,
    "forget": forget,
    "logged": logged,
}
