"""One pass over a study's event logs: whatever is new goes to MLflow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from steps import spool
from steps.mirror import about, notes

WORST = ("RUNNING", "FAILED", "KILLED", "FINISHED")  # a parent run stands as its worst stage
PATIENCE = 3  # logs that may fail in one pass before it gives up

Notes = dict[str, Any]


def sync(root: Path, check: bool = False) -> int:
    """Mirror what is new in `results/<study>` and return the number of events sent.

    With `check`, MLflow is asked even if the notes say that nothing is new (someone may have
    deleted the experiment). Safe to call from several processes and to kill at any point. Raises
    ConnectionError where a server does not answer, and MLflow's own errors: nothing is lost,
    the next pass goes on from there.
    """
    root = root.absolute()
    with notes.locked(notes.store_lock(root)):
        if not check and not notes.stale(root):
            return 0
        from steps.mirror import store  # MLflow takes seconds to import: only for work

        client = store.connect(root)
        seen, study = notes.load(root), list(store.experiment(client, root))
        if seen["experiment"] != study:
            seen = {"experiment": study, "groups": {}, "files": {}}
        seen["settled"] = False
        sent, errors = 0, []
        for path, start in _open(root, seen):
            try:
                sent += _attempt(client, root, path, start, seen)
            except Exception as error:  # one log's trouble must not stop the others
                errors.append(error)
                note = seen["files"].pop(path.name)  # next time, ask MLflow how far it got
                seen["groups"].pop(note.get("group"), None)
            notes.save(root, seen)
            if len(errors) > PATIENCE:
                break
        if errors:
            raise errors[0]
        _parents(client, seen)
        _described(client, root.name, seen)
        seen["settled"] = True
        notes.save(root, seen)
        return sent


def _open(root: Path, seen: Notes) -> list[tuple[Path, dict[str, Any]]]:
    """The logs to look at and their first events; of several attempts at a stage, the last."""
    latest: dict[str, str] = {}
    found = []
    for path in notes.files(root):
        note = seen["files"].setdefault(path.name, {})
        events, _ = spool.read(path, lines=1)
        if not events or events[0]["event"] != "start":
            note["size"] = path.stat().st_size  # just begun, or its disk was full: look if it grows
            continue
        start = events[0]
        note["key"] = spool.key(*(start[k] for k in ("study", "stage", "base", "arm", "seed")))
        latest[note["key"]] = path.name
        found.append((path, start))
    for path, _ in found:
        note = seen["files"][path.name]
        if latest[note["key"]] != path.name:
            note |= {"done": True, "status": "SUPERSEDED"}
    return [(path, start) for path, start in found if not seen["files"][path.name].get("done")]


def _attempt(client: Any, root: Path, path: Path, start: dict[str, Any], seen: Notes) -> int:
    from steps.mirror import runs

    note = seen["files"][path.name]
    note["process"], note["size"] = start["process"], path.stat().st_size
    dead = spool.gone(start["process"])  # before reading: after its death nothing is added
    experiment, project = seen["experiment"][0], str(notes.project(root)).replace("'", "_")
    note["group"] = "/".join(str(start[name]) for name in ("base", "arm", "seed"))
    if note["group"] not in seen["groups"]:
        parent = runs.group(client, experiment, start, project)
        seen["groups"][note["group"]] = {"run": parent}
    parent = seen["groups"][note["group"]]["run"]
    if "run" not in note:
        seen["title"] = (start.get("about") or {}).get("title") or seen.get("title", "")
        _grouped(client, start, seen["groups"][note["group"]])
        run = runs.stage(client, experiment, start, parent, project)
        if run is None:
            note |= {"done": True, "status": "SUPERSEDED"}
            return 0
        note |= {"run": run[0], "offset": run[1], "status": "RUNNING"}
    sent, recent = 0, []
    while True:
        events, end = spool.read(path, note["offset"], runs.LINES)
        if end == note["offset"]:
            break
        runs.send(client, note["run"], events, end)
        note["offset"] = end
        sent, recent = sent + len(events), events or recent
    if dead or (recent or spool.read(path)[0])[-1]["event"] == "finish":
        events, _ = spool.read(path)
        note["status"] = runs.close(client, note["run"], parent, events)
        folder, uri = events[-1].get("folder"), notes.uri(root)
        if note["status"] == "FINISHED" and folder:
            if start["stage"] == "report":
                from steps.mirror import shown

                seen["claims"] = shown.report(client, uri, parent, Path(folder))
            if any(event["event"] == "model" for event in events):
                from steps.mirror import models

                models.register(client, uri, note["run"], start, project, Path(folder))
        note |= {"done": True, "end": int(events[-1]["time"] * 1000)}
    return sent


def _parents(client: Any, seen: Notes) -> None:
    """Give each parent run the status of the worst of its stages' last attempts."""
    for name, group in seen["groups"].items():
        stages = [note for note in seen["files"].values() if note.get("group") == name]
        present = {note["status"] for note in stages}
        status = next((status for status in WORST if status in present), "FINISHED")
        if status == group.get("status"):
            continue
        if status == "RUNNING":
            client.update_run(group["run"], status)
        else:
            client.set_terminated(group["run"], status, max(n.get("end", 0) for n in stages))
        group["status"] = status


def _grouped(client: Any, start: dict[str, Any], group: Notes) -> None:
    """Describe a group as its newest stage has it: an arm's keys may have changed."""
    text = about.group(start)
    if group.get("about") != about.digest(text):
        tags = client.get_run(group["run"]).data.tags
        about.describe(text, tags, lambda key, value: client.set_tag(group["run"], key, value))
        group["about"] = about.digest(text)


def _described(client: Any, study: str, seen: Notes) -> None:
    """Describe the study, anew when its title, its run or its report's caution is another."""
    own, number = seen["groups"].get("None/None/None"), seen["experiment"][0]
    link = about.page(number, own["run"]) if own else ""
    text = about.experiment(study, seen.get("title", ""), link, seen.get("claims", {}))
    if seen.get("about") != about.digest(text):
        tags = client.get_experiment(number).tags
        about.describe(text, tags, lambda k, v: _tagged(client, number, k, v))
        seen["about"] = about.digest(text)


def _tagged(client: Any, number: str, key: str, value: str) -> None:
    """Set a tag of the experiment, which other clones may be about to set for the first time too.

    MLflow's server then adds it twice, which its database refuses to the later one; asked once
    more it finds the tag there and changes it.
    """
    from mlflow.exceptions import MlflowException

    try:
        client.set_experiment_tag(number, key, value)
    except MlflowException as error:
        if error.error_code != "BAD_REQUEST":
            raise
        client.set_experiment_tag(number, key, value)
