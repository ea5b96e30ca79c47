"""One attempt at a stage as a run in MLflow, each event once whatever is killed on the way.

A batch carries the log's offset as a tag, which MLflow writes last; a batch that was sent twice
changes nothing, because a metric's key, value, time and step together are its identity there.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, Run, RunTag

from steps import spool
from steps.mirror import about

LINES = 900  # a batch may hold 1000 entities, 100 of them parameters
STATUS = {"finished": "FINISHED", "failed": "FAILED", "killed": "KILLED"}
Event = dict[str, Any]


def find(client: MlflowClient, experiment: str, key: str, project: str) -> list[Run]:
    """The study's live runs of one key, oldest first. `project` tells clones on one server."""
    query = f"tags.`sightline.key` = '{key}' AND tags.`sightline.project` = '{project}'"
    return list(client.search_runs([experiment], query, order_by=["attributes.start_time ASC"]))


def group(client: MlflowClient, experiment: str, start: Event, project: str) -> str:
    """The id of the parent run of a stage's base, arm and seed, made if absent."""
    base, arm, seed = start["base"], start["arm"], start["seed"]
    key = spool.key(start["study"], "group", base, arm, seed)
    found = find(client, experiment, key, project)
    if found:
        return found[0].info.run_id
    tags = _tags(start, key, project)
    return client.create_run(experiment, _ms(start), tags, about.name(start)).info.run_id


def stage(
    client: MlflowClient, experiment: str, start: Event, parent: str, project: str
) -> tuple[str, int] | None:
    """The run of one attempt (id, offset reached), made if absent; None if a later one exists.

    Earlier attempts at the same stage are superseded.
    """
    key = spool.key(*(start[name] for name in ("study", "stage", "base", "arm", "seed")))
    mine = None
    for run in find(client, experiment, key, project):
        attempt = run.data.tags.get("sightline.attempt", "")
        if attempt > start["attempt"]:
            return None
        if attempt == start["attempt"] and mine is None:
            mine = run
        else:
            client.set_tag(run.info.run_id, "sightline.superseded", start["attempt"])
            client.delete_run(run.info.run_id)
    if mine is None:
        tags = _tags(start, key, project) | {
            "stage": start["stage"],
            about.NOTE: about.stage(start),
            "sightline.attempt": start["attempt"],
            "mlflow.parentRunId": parent,
            "mlflow.source.name": " ".join(start["command"]),
            "mlflow.source.git.commit": start["commit"] or "unknown",
            "host": start["process"]["host"],
        }
        mine = client.create_run(experiment, _ms(start), tags, start["stage"])
    return mine.info.run_id, int(mine.data.tags.get("sightline.offset", 0))


def send(client: MlflowClient, run: str, events: list[Event], offset: int) -> None:
    """One batch: parameters, curves, data sets and models, and the offset that it brings."""
    metrics, tags, inputs = [], [RunTag("sightline.offset", str(offset))], []
    for event in events:
        if event["event"] == "metric":
            metrics.append(_metric(event["name"], event["value"], event, event["step"]))
        elif event["event"] == "model":
            folder = Path(event["folder"])
            tags.append(RunTag(_name(f"model/{folder.name}"), str(folder)))
        elif event["event"] == "dataset":
            data = Dataset(
                str(event["name"])[:500],
                str(event["digest"])[:36] or "unknown",  # what MLflow's table holds
                "local",
                json.dumps({"uri": event["name"]}),
            )
            inputs.append(DatasetInput(data, [InputTag("mlflow.data.context", event["context"])]))
        elif event["event"] == "start":
            params = [Param(_name(k), _text(v)) for k, v in flat(event["params"]).items()]
            for i in range(0, len(params), 100):
                client.log_batch(run, params=params[i : i + 100])
    if inputs:
        client.log_inputs(run, inputs)
    client.log_batch(run, metrics[:LINES], tags=tags[:100])


def close(client: MlflowClient, run: str, parent: str, events: list[Event]) -> str:
    """End a run, given all its events: figures, notes, metrics, record, status; returns that.

    Without a `finish` at the end it was killed. The stage's metrics stand on the parent too, so
    that the table of runs compares arms. May be repeated.
    """
    last = events[-1]
    # One step after its curve's end: at equal step and millisecond MLflow shows the larger value.
    steps = {e["name"]: e["step"] + 1 for e in events if e["event"] == "metric"}
    values = last.get("metrics") or {}
    metrics = [_metric(name, v, last, steps.get(name, 0)) for name, v in values.items()]
    record = flat(last.get("record") or {}, "record/")
    numbers = {k: v for k, v in record.items() if type(v) in (int, float)}
    tags = [RunTag(_name(k), _text(v)) for k, v in record.items() if k not in numbers]
    own = metrics + [_metric(name, v, last, 0) for name, v in numbers.items()]
    for i in range(0, max(len(own), 1), LINES):
        client.log_batch(run, own[i : i + LINES], tags=tags[:100] if not i else [])
    for i in range(0, len(metrics), LINES):
        client.log_batch(parent, metrics[i : i + LINES])
    for path in dict.fromkeys(Path(e["path"]) for e in events if e["event"] == "figure"):
        if path.is_file():
            inside = last.get("folder") and path.is_relative_to(last["folder"])
            below = path.parent.relative_to(last["folder"]) if inside else ""
            client.log_artifact(run, str(path), str(Path("figures", below)))
    texts = [event["text"] for event in events if event["event"] == "text"]
    if texts:
        client.log_text(run, "\n".join(texts) + "\n", "notes.txt")
    status = STATUS[last["status"]] if last["event"] == "finish" else "KILLED"
    client.set_terminated(run, status, _ms(last))
    return status


def flat(tree: dict[str, Any], head: str = "") -> dict[str, Any]:
    """The leaves of nested parameters, named `section.key`."""
    leaves = {}
    for name, value in tree.items():
        inner = isinstance(value, dict)
        leaves |= flat(value, f"{head}{name}.") if inner else {f"{head}{name}": value}
    return leaves


def _tags(start: Event, key: str, project: str) -> dict[str, str]:
    parts = {name: start[name] for name in ("base", "arm", "seed") if start[name] is not None}
    tags = {"sightline.key": key, "sightline.project": project, "study": start["study"]}
    return tags | {name: str(value) for name, value in parts.items()}


def _metric(name: str, value: float, event: Event, step: int) -> Metric:
    return Metric(_name(name), float(value), _ms(event), step)


def _name(name: str) -> str:
    """The name as MLflow admits it: some characters only, a path without empty or dotted parts."""
    clean = re.sub(r"[^\w\-. /:]", "_", str(name)).replace("..", "_")
    return "/".join(p for p in clean.split("/") if p not in ("", "."))[:250] or "unnamed"


def _ms(event: Event) -> int:
    return int(event["time"] * 1000)


def _text(value: Any) -> str:
    return json.dumps(value) if isinstance(value, list) else str(value)
