"""What it takes to post-train an arm."""

from math import ceil

from steps.posttrain.dose import BATCH, ITEMS
from steps.study.costs.models import weights
from steps.study.costs.work import Case, Work, decode, read, train

SPOILING = ("vppo", "pgpo")
"""Rules of credit that read each answer once more, behind a spoilt image."""


def pairs(case: Case) -> Work:
    """Each training question is answered `draws` times; some answers are gone on with blind."""
    told, count = case.params.pairs, case.params.items.train
    if case.params.data.paired:
        return Work(disk=400.0 * count, start="model")
    drawn = decode(case, count, told.draws, told.batch, told.max_tokens)
    blind = decode(case, told.mix.continuation * case.kept, told.draws, told.batch, told.max_tokens)
    return drawn + blind + Work(disk=400.0 * count, start="model")


def joined(case: Case) -> Work:
    """An encoder and a language model joined: the projector alone, then what is tuned."""
    told, alike = case.params.join, case.params.train
    work = Work(disk=weights(case, 2), spare=2 * weights(case), start="trainer")
    for part, parts in ((told.align, ["projector"]), (told.tune, told.parts)):
        count = part.steps * alike.batch
        work += train(case, count, case.whole, 1, alike.micro_batch, parts) + Work(items=count)
    return work


def none(case: Case) -> Work:
    """The base's weights, linked or copied."""
    return Work(disk=weights(case), start="none")


def checkpoint(case: Case) -> Work:
    """Weights from elsewhere are read, written and held against the base: no training."""
    return _ended(case, [])


def steps(case: Case, epochs: float) -> int:
    """Optimiser steps, as `steps.posttrain.questions.steps` has them."""
    return max(1, round(epochs * case.kept / case.params.train.batch))


def sft(case: Case) -> Work:
    """Passes over reference answers."""
    return _supervised(case, case.told.epochs, case.told.parts) + _ended(case, case.told.parts)


def _supervised(case: Case, epochs: float, parts: list[str]) -> Work:
    alike = case.params.train
    count = steps(case, epochs) * alike.batch
    work = train(case, count, case.whole, 1, alike.micro_batch, parts)
    return work + Work(items=count)


def dpo(case: Case) -> Work:
    """Both answers of each pair, what they share read once; the reference reads each pair once."""
    told, alike = case.told, case.params.train
    count = steps(case, told.epochs) * alike.batch
    tokens = case.prompt + 2 * case.talk.said
    work = train(case, count, tokens, 1, alike.micro_batch, told.parts, case.whole)
    once = min(count, case.kept)
    work += read(case, once, tokens, 1, alike.micro_batch)
    if told.sft_epochs:
        work += _supervised(case, told.sft_epochs, told.parts)
    return work + Work(items=2 * (count + once)) + _ended(case, told.parts)


def grpo(case: Case) -> Work:
    """Groups of answers, drawn and trained on; what a rule of credit or the divergence asks."""
    told = case.told
    groups, size = told.steps * told.prompts, told.generations
    drawn = decode(case, groups * (1 + told.refill / 2), size, told.prompts, told.max_tokens)
    tokens, seen = case.prompt + size * case.talk.said, case.whole
    whole = max(1, told.micro_batch // size)  # groups in a pass
    work = drawn + train(case, groups, tokens, 1, whole, told.parts, seen)
    if told.credit in SPOILING:
        work += read(case, groups, tokens, 1, whole)
    if told.beta:
        work += read(case, groups * size, case.whole, 1, told.micro_batch)
    if told.measure_every:
        looks = ceil(told.steps / told.measure_every)
        work += replaced(read(case, ITEMS * looks, case.whole, 1, BATCH))
        anchors = train(case, 2 * looks * told.prompts, tokens, 1, whole, told.parts, seen)
        work += replaced(anchors)
    return work + Work(items=groups * size) + _ended(case, told.parts)


def replaced(work: Work) -> Work:
    """The same work, which the metric `budget/flops` leaves out."""
    return work + Work(counted=-work.counted)


def _ended(case: Case, parts: list[str]) -> Work:
    """The model is written, read again and held against its base."""
    dose = replaced(read(case, 2 * ITEMS, case.whole, 1, BATCH)) + Work(items=2 * ITEMS)
    moved = sum(case.trained(parts).values())
    kept = 4.0 * case.shape.parameters + 8.0 * moved
    return dose + Work(disk=weights(case), spare=2 * kept, start="trainer")


COSTS = {
    "joined": joined,
    "checkpoint": checkpoint,
    "pairs": pairs,
    "none": none,
    "sft": sft,
    "dpo": dpo,
    "grpo": grpo,
}
