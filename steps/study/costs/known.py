"""Configurations of models that are not at hand: of public ones, and of those that a study makes.

So a plan needs neither a network nor weights. What it is then counted from is said in its notes.
"""

from functools import cache
from pathlib import Path
from typing import Any

MADE = "results"
"""Where studies put models: results/<study>/model/<base>/..., or results/<study>/base/<base>/..."""


def config(path: str) -> Any:
    """The configuration of a public model by its name's last part; None for one not in the table.

    path: a name on the hub, or a folder of the same name.
    """
    from transformers import AutoConfig

    told = _table().get(Path(path).name.lower())
    return None if told is None else AutoConfig.for_model(**told)


def made(path: str) -> tuple[str, str] | None:
    """The study, and its base, that a model in the results' folder is made from; else None."""
    parts = Path(path).parts
    if len(parts) < 4 or parts[0] != MADE or parts[2] not in ("model", "base"):
        return None
    return parts[1], parts[3]


@cache
def _table() -> dict[str, dict[str, Any]]:
    import yaml

    return yaml.safe_load(Path(__file__).with_name("known.yaml").read_text())
