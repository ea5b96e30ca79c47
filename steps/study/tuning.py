"""Which learning rate each arm gets: the best of the same grid, by lenient VQA on the tuning split.

Arms of the study `tuning` are named after the arm that they try a rate for: `dpo`, `dpo_low` and
`dpo_high`, say, are tries for `dpo`; arms with other names are left alone. Nothing but answers is
read, so no probe can have a say.
"""

import json
from pathlib import Path
from typing import Any

from steps.manifest import digest

TRIES = ("", "least", "lowest", "low", "high")


def table(params: Any, results: Path) -> list[dict[str, Any]]:
    """One row a base, arm and rate: lenient accuracy on the tuning split, and the pick of each arm.

    Raises FileNotFoundError where answers are missing, ValueError for unequal grids.
    """
    rows = []
    for base in params.bases:
        for arm in params.arms:
            name, _, end = arm.partition("_")
            if end not in TRIES:
                continue
            folders = [results / "vqa" / base / arm / f"seed{s}" for s in params.seeds]
            shares = [json.loads((f / "metrics.json").read_text())["vqa/lenient"] for f in folders]
            rate = getattr(params.arm_section(arm), "learning_rate", None)
            rows.append(
                {
                    "base": base,
                    "arm": name,
                    "learning_rate": rate,
                    "lenient": sum(shares) / len(shares),
                }
            )
    grids = {}
    for row in rows:
        if row["learning_rate"] is not None:
            grids.setdefault((row["base"], row["arm"]), set()).add(row["learning_rate"])
    if len({tuple(sorted(g)) for g in grids.values()}) > 1:
        raise ValueError(f"arms are tried on different rates: {grids}; give each the same grid")
    names = [row["arm"] for row in rows]
    for row in rows:
        rivals = [r for r in rows if (r["base"], r["arm"]) == (row["base"], row["arm"])]
        row["picked"] = row is max(rivals, key=lambda r: r["lenient"])
    return sorted(rows, key=lambda r: (r["base"], names.index(r["arm"]), r["learning_rate"] or 0))


def write(params: Any, results: Path, folder: Path) -> str:
    """Write tuning.md and tuning.json into `folder`; returns the table as markdown.

    `weights` in tuning.json tells by sha256 which base the rates were tried on.
    """
    rows = table(params, results)
    weights = {base: digest(weights_of(results / "base" / base)) for base in params.bases}
    text = (
        "# Learning rates\n\n"
        f"Lenient VQA on the tuning split ({params.items.tune} questions, seed "
        f"{', '.join(map(str, params.seeds))}, which no study reports). Every arm has the same "
        "rates to choose from.\n\n| base | arm | learning rate | lenient | picked |\n"
        "| --- | --- | --- | --- | --- |\n"
    )
    for row in rows:
        rate = "–" if row["learning_rate"] is None else f"{row['learning_rate']:g}"
        mark = "yes" if row["picked"] and row["learning_rate"] is not None else ""
        text += f"| {row['base']} | {row['arm']} | {rate} | {row['lenient']:.3f} | {mark} |\n"
    folder.mkdir(exist_ok=True)
    (folder / "tuning.md").write_text(text)
    told = {"weights": weights, "rows": rows}
    (folder / "tuning.json").write_text(json.dumps(told, indent=1) + "\n")
    return text


def weights_of(base: Path) -> Path:
    """The file of weights, in a base's folder, that arms start from."""
    return base / "instruct" / "model.safetensors"
