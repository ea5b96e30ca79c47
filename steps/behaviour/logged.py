"""Benchmarks: answers that lmms-eval logged for a model, read and judged as all answers here are.

No model is asked. Lenient accuracy asks whether an answer is right, strict accuracy also whether
it has the form that was asked for; lmms-eval's own score of the same answer stands beside them,
with how often it agrees with the lenient one.
"""

import json
import math
from hashlib import sha256
from pathlib import Path
from typing import Any

import pandas as pd

from steps.behaviour.rescore import scored
from steps.behaviour.samples import samples
from steps.manifest import digest
from steps.stage import StageError
from steps.track import log
from steps.whose import signed

QUESTIONS = "questions.json"
"""Which questions each benchmark's answers are to, for comparisons between models."""
SAME = 1e-3
"""Two scores that differ by no more are the same."""
COLUMNS = ["instrument", "item", "raw", "strict", "lenient", "well_formed", "answer"]
COLUMNS += ["value", "theirs"]


def run(params: Any, inputs: dict[str, Path], out: Path) -> dict[str, float]:
    """Judge what was logged; writes items.parquet and questions.json.

    params: benchmarks. inputs: `evals`, the file that says where each benchmark's answers are
    (`steps.evals`). Returns accuracies as shares, of the benchmarks that are there.
    """
    told = json.loads(inputs["evals"].read_text())
    parts, metrics, questions = [], {}, {}
    for name, entry in params.benchmarks.items():
        if told[name] is None:
            questions[name] = None
            continue
        path = Path(told[name]["path"])
        files = {path: told[name]["sha256"]}
        if entry.answers:
            files[Path(entry.answers)] = told[name]["answers"]
        for file, known in files.items():
            if not file.is_file() or digest(file) != known:
                raise StageError(f"{file} is not what {inputs['evals']} says: run the study again")
        rows, questions[name] = judged(f"benchmarks/{name}", path, entry)
        parts.append(pd.DataFrame(rows, columns=COLUMNS))
        metrics |= summary(name, parts[-1], entry.score)
        log.metric(f"benchmarks/{name}/lenient", metrics[f"benchmarks/{name}/lenient"], 0)
    whole = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=COLUMNS)
    signed(whole, params.run).to_parquet(out / "items.parquet", index=False)
    (out / QUESTIONS).write_text(json.dumps(questions, indent=1, sort_keys=True) + "\n")
    return metrics


def judged(instrument: str, path: Path, entry: Any) -> tuple[list[tuple], dict[str, Any]]:
    """The rows of a file, in COLUMNS' order; and which questions they are: how many, and a hash.

    The hash is of each question's number, prompt and true answers, in whatever order they stand.
    """
    rows, asked = [], []
    for one in samples(path, entry):
        found = scored(entry.score, one, entry.tolerance)
        rows.append(
            (
                instrument,
                one.item,
                one.said,
                found.strict,
                found.lenient,
                int(found.well_formed),
                found.answer,
                one.answers[0] if len(one.answers) == 1 else json.dumps(one.answers),
                math.nan if one.theirs is None else one.theirs,
            )
        )
        question = json.dumps([one.item, one.prompt, one.answers])
        asked.append(sha256(question.encode()).hexdigest())
    total = sha256("".join(sorted(asked)).encode()).hexdigest()
    if entry.metric is not None and all(math.isnan(row[-1]) for row in rows):
        raise StageError(
            f"{path}: no line has a number at metric {entry.metric!r}: name the field of "
            "lmms-eval's own score, or leave `metric` out"
        )
    return rows, {"count": len(rows), "sha256": total}


def summary(name: str, rows: Any, score: str) -> dict[str, float]:
    """Flat metrics of a benchmark's rows.

    `logged` is lmms-eval's own mean, `agree` the share of samples that it scores as leniently read
    ones are here; both only of samples that it scored. For yes and no: `f1` of yes, and how often
    yes is said (`yes`), as POPE reports them.
    """
    found = {
        "lenient": rows["lenient"].mean(),
        "strict": rows["strict"].mean(),
        "ill_formed": 1 - rows["well_formed"].mean(),
        "unread": rows["answer"].isna().mean(),
        "items": len(rows),
    }
    known = rows[rows["theirs"].notna()]
    if len(known):
        found["logged"] = known["theirs"].mean()
        found["agree"] = ((known["theirs"] - known["lenient"]).abs() <= SAME).mean()
    if score == "yes_no":
        said, true = rows["answer"] == "yes", rows["value"].str.lower().str.startswith("yes")
        both = (said & true).sum()
        found["f1"] = 2 * both / max(1, said.sum() + true.sum())
        found["yes"] = said.mean()
    return {f"benchmarks/{name}/{key}": float(value) for key, value in found.items()}
