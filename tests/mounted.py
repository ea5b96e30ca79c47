"""A table of mounts as the kernel would show it, for paths that are really on a local disk."""

from pathlib import Path

from steps import mounts

LINE = "28 1 0:28 / {point} rw,relatime shared:1 - {kind} server:/export rw,{options}\n"


def mount(monkeypatch, folder: Path, kind: str, options: str = "vers=4.2") -> Path:
    """Have `folder` lie on a file system of that kind; returns it."""
    point = str(folder).replace(" ", "\\040")
    root = LINE.format(point="/", kind="ext4", options="errors=remount-ro")
    (folder / "mountinfo").write_text(root + LINE.format(point=point, kind=kind, options=options))
    monkeypatch.setattr(mounts, "TABLE", folder / "mountinfo")
    return folder
