"""Finished models and dictionaries in MLflow's registry, by reference: no weights are copied.

One registered model an arm, `embedded.bundled.dpo`, with a version a seed, of which the alias says
which seed it is: `models:/embedded.bundled.dpo@seed0` is a folder that Transformers loads.
Dictionaries are `embedded.bundled.dictionary`. MLflow's server takes no version from outside a
run's own artefacts, so only a store that is asked directly has them; behind a server the stage's
run tells the folder in a tag.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from steps.mirror import about

SERVED = ("http:", "https:", "databricks")


def register(
    client: MlflowClient, uri: str, run: str, start: dict[str, Any], project: str, folder: Path
) -> None:
    """Make what a stage left in `folder` the version of its seed. May be repeated.

    uri: of the store. run: the stage's. start: its first event. project: tells clones that share a
    store. An older attempt's version goes, as its weights have; other aliases of it go with it.
    """
    if uri.startswith(SERVED):
        return
    name = f"{start['study']}.{start['base']}.{start['arm'] or start['stage']}"
    alias = f"seed{start['seed']}"
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    _describe(client, name, about.model(start))
    own = {"sightline.project": project, "alias": alias}
    there = client.search_model_versions(f"name = '{name}'")
    old = [v for v in there if own.items() <= v.tags.items() and v.run_id != run]
    mine = next((version for version in there if version.run_id == run), None)
    if mine is None:
        mine = client.create_model_version(name, str(folder), run, own)
    client.set_registered_model_alias(name, alias, mine.version)
    for version in old:
        client.delete_model_version(name, version.version)


def _describe(client: MlflowClient, name: str, text: str) -> None:
    """As runs are described, but that a model's description is no tag of it."""
    found = client.get_registered_model(name)
    tags = dict(found.tags) | ({about.NOTE: found.description} if found.description else {})

    def write(key: str, value: str) -> None:
        if key == about.NOTE:
            client.update_registered_model(name, value)
        else:
            client.set_registered_model_tag(name, key, value)

    about.describe(text, tags, write)
