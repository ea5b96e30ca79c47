"""Names and descriptions of runs and experiments: what MLflow's pages say in words, in one place.

A group of stages is named `arm · seed · base`, as `sft · seed 0 · bundled` (MLflow's column cuts a
name off after some fifteen letters); what is no arm's has a word in the arm's place: `all arms ·
seed 0 · bundled`, `data · seed 0`, `base · bundled`, `study`. A stage is named as everywhere:
`sft`, `vqa`. What a stage or a method does is told in the words of its rule in workflow/rules. A
description that a reader has written in MLflow is left alone.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

NOTE = "mlflow.note.content"
# Digests of what was written here: any other text is a reader's. The pages hide a tag so named.
OURS = "mlflow.sightline.note"
LONGEST = 5000  # characters of an experiment's tag
RULES = Path(__file__).parents[2] / "workflow" / "rules"
NESTED = (
    "Stages are nested below; their final metrics stand here too, so that the table of runs "
    "compares them."
)


def name(start: dict[str, Any]) -> str:
    """The name of the group that a stage belongs to, by its first event."""
    base, arm, seed = start["base"], start["arm"], start["seed"]
    place = "all arms" if base else "data"
    first = arm or (place if seed is not None else "base" if base else "study")
    parts = [first, None if seed is None else f"seed {seed}", base]
    return " · ".join(part for part in parts if part)


@cache
def rules() -> dict[str, str]:
    """What each stage does, by name, as its rule says."""
    found: dict[str, str] = {}
    for path in RULES.glob("*.smk"):
        found |= re.findall(r'^rule (\w+):\n +"""(.+?)"""$', path.read_text(), re.MULTILINE)
    return found


def stage(start: dict[str, Any]) -> str:
    """A stage's description, by its first event."""
    return rules().get(start["stage"], "")


def group(start: dict[str, Any]) -> str:
    """A group's description, by the first event of a stage of it."""
    base, arm, seed = start["base"], start["arm"], start["seed"]
    if not arm:
        if base:
            several = f"What all arms on base `{base}` share on seed {seed}, and what is measured "
            several += "on the base itself."
            alone = f"Base `{base}`: how it was made, and what is told of all its seeds together."
            return f"{alone if seed is None else several}\n\n{NESTED}"
        if seed is None:
            return f"The study as a whole, once its report is made.\n\n{NESTED}"
        return f"Questions and scenes of seed {seed}, the same for all bases and arms.\n\n{NESTED}"
    told = (start.get("about") or {}).get("arm")
    if not told:
        return f"Arm `{arm}` on base `{base}`, seed {seed}.\n\n{NESTED}"
    among = ", ".join(map(str, told["seeds"]))
    among = f"of {among}" if len(told["seeds"]) > 1 else "its only one"
    return f"Arm `{arm}` on base `{base}`, seed {seed} ({among}).\n\n{_method(told)}\n\n{NESTED}"


def model(start: dict[str, Any]) -> str:
    """A registered model's description, by the first event of a stage that made a version of it."""
    arm, told = start["arm"], (start.get("about") or {}).get("arm")
    what = f"Arm `{arm}`" if arm else f"{start['stage'].capitalize()}: {stage(start)}"
    versions = (
        "Each version is a seed's, which its alias names; its source is the folder with the "
        "weights, in the study's results, and its run tells how they were made."
    )
    method = f"\n\n{_method(told)}" if told else ""
    return f"{what.rstrip('.')}, on base `{start['base']}`. {versions}{method}"


def _method(told: dict[str, Any]) -> str:
    """How an arm is made, by what its stages tell of it."""
    method, does = told["method"], rules().get(told["method"], "")
    own = ", ".join(f"`{key}` = {json.dumps(v)}" for key, v in told["overrides"].items())
    keys = f"Its own keys: {own or 'none'}; the others are its method's in params.yaml."
    return f"Method `{method}`: {does[:1].lower()}{does[1:]} {'' if method == 'none' else keys}"


def page(experiment: str, run: str, file: str = "") -> str:
    """The link within MLflow's pages to a run's files, or to one of them."""
    place = f"#/experiments/{experiment}/runs/{run}/artifacts{file and f'/{file}'}"
    return f"{place}?workflowType=machine_learning"


def study(claims: dict[str, Any], sentence: str, link: Callable[[str], str]) -> str:
    """The description of the study's run, from its report. link: to a file of the run."""
    from steps.study.claims.decide import VERDICTS

    words = [row["verdict"] for row in claims["rows"]]
    counts = ", ".join(f"{words.count(word)} {word}" for word in VERDICTS if word in words)
    told = f"**{len(words)} claims: {counts}.** " if words else ""
    columns, read = link("claims.json"), link("tables/claims.md")
    each = f"Each of them: [in columns]({columns}), [to read]({read}). " if words else ""
    return (
        f"{told}{sentence}\n\n{each}The whole report: [index.html]({link('index.html')}); its "
        f"figures: [figures]({link('figures')}).\n\n{_caution(claims)}\n\n{NESTED}"
    )


def experiment(study: str, title: str, link: str, claims: dict[str, Any]) -> str:
    """A study's description. link: to its run's files, "" before there is one."""
    run = f"[The study's run]({link})" if link else "The study's run, once its report is made,"
    return (
        f"**{title or study}**\n\n"
        f"Study `{study}`: what post-training does to a multimodal model's sight, arm by arm and "
        "seed by seed, beside the untouched base and controls.\n\n"
        "**How to read it.** A run stands for an arm on one base and seed, as "
        "`sft · seed 0 · bundled`; `all arms · …` holds what the arms share, `data · …` the "
        "questions and scenes, `base · …` how a base was made. Their stages are nested below them "
        "(+ opens them) with parameters, curves, figures and, where they train, system metrics; "
        "their final metrics stand on the run above, so that the table compares arms. "
        f"{run} has the verdict on each claim (`claims.json`), the figures and the report "
        "(`index.html`).\n\n"
        f"{_caution(claims)}"
    )


def describe(text: str, tags: dict[str, str], write: Callable[[str, str], Any]) -> None:
    """Write a description, unless there is one by somebody else. `tags`: those there are."""
    text, old = text[:LONGEST], tags.get(NOTE)
    if old == text or (old is not None and digest(old) not in tags.get(OURS, "")):
        return
    write(OURS, f"{digest(text)} {digest(old or '')}")  # first, for both: a kill between is no harm
    write(NOTE, text)


def digest(text: str) -> str:
    """What tells a text from another."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _caution(claims: dict[str, Any]) -> str:
    from steps.study.claims.judge import CAUTION

    scope = f" Scope: {claims['scope']}." if claims.get("scope") else ""
    return f"**Caution.** {claims.get('caution', CAUTION)}{scope}"
