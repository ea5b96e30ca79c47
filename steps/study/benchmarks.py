"""The page's table of benchmarks, and whether the answers that it compares are to one set."""

import json
from pathlib import Path
from typing import Any

from steps.study.rows import Group, Row, family

QUESTIONS = "questions.json"
"""In the folder of each model's answers: which questions they are to; see `steps.behaviour.logged`.
"""
MEASURES = {
    "ill_formed": "ill-formed answers",
    "unread": "answers of which nothing can be read",
    "f1": "F1 of yes",
    "yes": "says yes",
    "logged": "lmms-eval's own score",
    "agree": "scored alike by lmms-eval",
}


def groups(names: set[str]) -> list[Group]:
    """The table, empty where nothing was logged."""
    rows = []
    for _, name in family(names, r"benchmarks/([^/]+)/lenient"):
        at = f"benchmarks/{name}"
        rows += [
            Row(f"{at}/lenient", f"{name}: right answers, read leniently"),
            Row(f"{at}/strict", f"{name}: right and in the form that was asked for"),
            *(Row(f"{at}/{key}", f"{name}: {what}", inner=True) for key, what in MEASURES.items()),
        ]
    return [
        Group(
            "Benchmarks",
            "Answers that lmms-eval logged, read and judged as all answers here are, in points. "
            "Lenient asks whether the answer is right, strict also for the form that was asked "
            "for: what an arm gains in strict alone is format. Its own score differs where it "
            "reads answers otherwise (docs/benchmarks.md). Seeds differ in training alone: the "
            "questions are the same, so intervals of right answers are over both, crossed.",
            "points",
            rows,
        )
    ]


def compared(
    metrics: dict[Any, dict[str, float]], folders: dict[Any, Path], first: int
) -> list[str]:
    """Take out figures of answers to other questions than the untouched base's; says which.

    metrics, folders: by place (`collect.Where`); metrics are changed in place. first: the first
    seed, whose base others are held against (without one, the first model that has answers).
    Benchmarks that an arm has no file of are named too.
    """
    said = []
    places = [place for place in folders if place[0] == "logged"]
    asked = {place: _asked(folders[place]) for place in places}
    places.sort(key=lambda place: place[2:] != ("none", first))
    held: dict[tuple[str, str], tuple[Any, dict[str, Any]]] = {}
    for place in places:
        _, base, arm, seed = place
        for name, told in asked[place].items():
            at = f"logged/{base}/{arm}/seed{seed}: benchmark {name}"
            if told is None:
                said.append(f"{at}: no file")
                continue
            (_, _, other, its), known = held.setdefault((base, name), (place, told))
            if told != known:
                said.append(
                    f"{at}: {told['count']} answers to other questions, prompts or true answers "
                    f"than the {known['count']} of {other}, seed {its}; left out"
                )
                mine = metrics[place]
                for metric in [m for m in mine if m.startswith(f"benchmarks/{name}/")]:
                    del mine[metric]
    return said


def _asked(folder: Path) -> dict[str, Any]:
    try:
        return json.loads((folder / QUESTIONS).read_text())
    except (OSError, ValueError):
        return {}
