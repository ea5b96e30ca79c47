"""What the section `data` asks for, with a preset's columns and rewards filled in."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from steps.data.own.presets import PRESETS

LLAVA = {"image": "image", "prompt": "conversations.0.value", "answer": "conversations.1.value"}
PLAIN = {"image": "image", "prompt": "prompt", "answer": "answer"}
"""Columns where neither a preset nor `data.columns` names any; LLaVA's where the format is."""


@dataclass(frozen=True)
class Spec:
    """columns: our names to theirs. reward: names, of which the first that fits an answer counts.

    images: the folder that paths of images start from. roots: as in Preset.
    """

    path: Path
    images: Path
    test_path: Path | None
    format: str
    columns: dict[str, Any]
    reward: tuple[str, ...]
    roots: str = ""

    @property
    def file(self) -> tuple[Path, str] | None:
        """The file and the function of a reward of one's own, None for the built-in ones."""
        own = next((name for name in self.reward if ".py:" in name), None)
        if own is None:
            return None
        path, _, function = own.rpartition(":")
        return Path(path), function

    @property
    def paired(self) -> bool:
        """Whether the data brings its own rejected answers."""
        return "rejected" in self.columns


def settled(data: Any) -> Spec:
    """The Spec of a section `data` whose source is files."""
    preset = PRESETS.get(data.preset)
    own = {name: told for name, told in data.columns if told is not None}
    if preset is not None:
        columns = preset.columns | own
    else:
        columns = (LLAVA if data.format == "llava" else PLAIN) | own
        if "chosen" in columns and "answer" not in own:
            del columns["answer"]
    given = [data.reward] if isinstance(data.reward, str) else data.reward
    fallback = preset.reward if preset is not None else ("iou" if "box" in own else "exact",)
    path = Path(data.path or "")
    beside = path if path.is_dir() else path.parent
    return Spec(
        path,
        Path(data.images) if data.images else beside,
        Path(data.test_path) if data.test_path else None,
        data.format,
        columns,
        tuple(given or fallback),
        preset.roots if preset is not None else "",
    )
