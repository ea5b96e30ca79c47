"""Encoders in a new model, on the page: what they are worth there, and what they cost to make."""

from typing import Any

from steps.study.collect import Found
from steps.study.rows import Group, Row, family

CURRENCIES = {
    "samples": ("images seen", ("images",)),
    "tokens": ("tokens read", ("tokens", "reference_tokens", "rollout_tokens")),
    "flops": ("floating-point operations", ("flops",)),
}
"""Currencies that are counted: what they are called, and the arms' budgets that count in them."""
STAGE1 = ("align", "instruct")


def groups(names: set[str]) -> list[Group]:
    """The tables, empty ones among them."""
    kinds = family(names, r"reuse/kind/([^/]+)/lenient")
    answers = [
        Row("reuse/lenient", "right answers, read leniently", baselines=True),
        *(Row(name, kind, baselines=True, inner=True) for name, kind in kinds),
        Row("reuse/strict", "read strictly", baselines=True),
        Row("reuse/sighted/lenient", "right with the image, facts left out", baselines=True),
        Row("reuse/grey/lenient", "the same questions with a grey image", baselines=True),
    ]
    losses = [
        Row("reuse/loss/align", "projector alone", scale=1, baselines=True),
        Row("reuse/loss/instruct", "projector and language model", scale=1, baselines=True),
    ]
    prices = [Row(f"reuse/cost/{name}", what) for name, (what, _) in CURRENCIES.items()]
    return [
        Group(
            "The encoder in a new model",
            "Each encoder put into a language model that never met an image, behind a fresh "
            "projector, trained alike on scenes that neither stage 1 nor any arm drew, and asked; "
            "right answers in points. Original: the tower before it met a language model. PIVOT "
            "(2510.16333) compares an encoder with stage 1 and DPO behind it to the original one; "
            "the arm none is the control that the paper lacks: stage 1 and nothing more. What an "
            "arm adds is therefore its difference to none.",
            "points",
            answers,
        ),
        Group(
            "The encoder in a new model: final losses",
            "Mean loss over the last hundred steps of either part, in nats.",
            "nats",
            losses,
        ),
        Group(
            "What the encoder cost",
            "What it took to make the encoder out of the original one (stage 1 and the arm's own "
            "training, rollouts and reference included), in per cent of what pre-training the "
            "original took by the recipe. PIVOT claims less than 1 % (by samples, and by numbers "
            "of devices). Sampling preference pairs is left out, and so is the language model's "
            "own pre-training. Time on a device is no part of the page: `python -m steps reused`.",
            "per cent",
            prices,
        ),
    ]


def spent(found: Found, base: str, arm: str, seed: int, currency: str) -> dict[str, float] | None:
    """What making an arm's encoder took in a currency: `tower`, `stage1` and `own`."""
    recipe = found.metrics.get(("cost", base, None, None))
    budget = found.metrics.get(("model", base, arm, seed))
    names = [f"budget/{name}" for name in CURRENCIES[currency][1]]
    if recipe is None or budget is None or not set(names) <= set(budget):
        return None
    return {
        "tower": recipe[f"cost/tower/{currency}"],
        "stage1": sum(recipe[f"cost/{part}/{currency}"] for part in STAGE1),
        "own": sum(budget[name] for name in names),
    }


def price(found: Found) -> None:
    """Add `reuse/cost/<currency>`, stage 1 and the arm over pre-training, to `reuse`'s metrics."""
    for (stage, base, arm, seed), values in found.metrics.items():
        if stage == "reuse" and base and arm and seed is not None:
            for currency in CURRENCIES:
                told = spent(found, base, arm, seed, currency)
                if told:
                    ratio = (told["stage1"] + told["own"]) / told["tower"]
                    values[f"reuse/cost/{currency}"] = ratio


def costs(found: Found, params: Any, base: str) -> list[dict[str, Any]]:
    """The same absolutely, for the table of costs: everything since pre-training, by arm."""
    rows = []
    for currency, (what, _) in CURRENCIES.items():
        arms = {}
        for arm in params.arms:
            each = [
                told["stage1"] + told["own"]
                for (stage, b, a, seed) in found.metrics
                if stage == "reuse" and (b, a) == (base, arm) and seed is not None
                if (told := spent(found, base, arm, seed, currency))
            ]
            if each:
                arms[arm] = sum(each) / len(each)
        if arms:
            label = f"encoder since pre-training, {what}"
            rows.append({"metric": f"reuse/spent/{currency}", "label": label, "arms": arms})
    return rows
