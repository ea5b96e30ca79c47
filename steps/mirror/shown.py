"""The report on the study's own run: its verdicts as a table, its figures and its pages.

MLflow shows all of it in place: a table in columns, pictures, pages, and Markdown.
"""

from __future__ import annotations

import json
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.utils.mlflow_tags import MLFLOW_LOGGED_ARTIFACTS

from steps.mirror import about

TABLE = "claims.json"
SHOWN = ("*.html", "figures/*.png", "tables/*.md", "tables/*.tex")


def report(client: MlflowClient, uri: str, run: str, folder: Path) -> dict[str, Any]:
    """Put a report's folder on a run, in the place of an older one; scope and caution of claims.

    uri: of the store. May be repeated. A folder that is gone leaves the run as it was.
    """
    try:
        summary = json.loads((folder / "summary.json").read_text())
    except FileNotFoundError:
        return {}
    claims = summary.get("claims") or {"rows": []}
    sent = set()
    if claims["rows"]:
        client.log_text(run, table(claims), TABLE)
        sent.add(TABLE)
    for path in sorted(path for pattern in SHOWN for path in folder.glob(pattern)):
        place = path.relative_to(folder)
        client.log_artifact(run, str(path), place.parent.as_posix() if place.parent.name else None)
        sent.add(place.as_posix())
    found = client.get_run(run)
    _forget(client, uri, found, sent)
    marks = json.loads(found.data.tags.get(MLFLOW_LOGGED_ARTIFACTS, "[]"))
    marks = [mark for mark in marks if mark["path"] != TABLE]
    marks += [{"path": TABLE, "type": "table"}] if claims["rows"] else []
    client.set_tag(run, MLFLOW_LOGGED_ARTIFACTS, json.dumps(marks))  # "View as table"
    link = partial(about.page, found.info.experiment_id, run)
    text = about.study(claims, summary["headline"]["sentence"], link)
    about.describe(text, found.data.tags, lambda key, value: client.set_tag(run, key, value))
    return {key: claims[key] for key in ("scope", "caution") if key in claims}


def table(claims: dict[str, Any]) -> str:
    """The verdicts as MLflow's tables are kept (`mlflow.log_table`, which only ever appends)."""
    from steps.study.claims.texts import controls, effect, reason

    rows = [
        {
            "id": row["id"],
            "verdict": row["verdict"],
            "claim": row["says"],
            "effect [interval]": effect(row),
            "units": row["estimate"]["n"] if row.get("estimate") else 0,
            "why": reason(row),
            "controls": "; ".join(controls(row)) or "–",
            "kind": "primary" if row["primary"] else "described",
            "paper": claims["papers"][row["paper"]]["name"],
        }
        for row in claims["rows"]
    ]
    split = {"columns": list(rows[0]), "data": [list(row.values()) for row in rows]}
    return json.dumps(split, ensure_ascii=False)


def _forget(client: MlflowClient, uri: str, run: Run, kept: set[str]) -> None:
    """Remove what an older report left: a figure of an arm that is no more would mislead."""
    old = []
    for pattern in (TABLE, *SHOWN):
        there = client.list_artifacts(
            run.info.run_id, str(PurePosixPath(pattern).parent).strip(".")
        )
        old += [f.path for f in there if fnmatchcase(f.path, pattern) and f.path not in kept]
    if old:
        place = get_artifact_repository(run.info.artifact_uri, tracking_uri=uri)
        try:
            for path in old:
                place.delete_artifacts(path)
        except (MlflowException, NotImplementedError):
            pass  # a store that deletes nothing
