"""Which kind of file system a path lies on, by the kernel's own table of mounts.

sqlite's write-ahead log and some file locks do not work where files come over a network; what
depends on either asks here first.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path

TABLE = Path("/proc/self/mountinfo")
"""One line a mount; see proc_pid_mountinfo(5)."""

NETWORK = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "lustre", "gpfs", "beegfs", "ceph", "afs"}
NETWORK |= {"panfs", "wekafs", "orangefs", "gfs2", "ocfs2"}
LOCAL_FUSE = {"fuse-overlayfs", "squashfuse", "gocryptfs", "encfs", "cryfs", "ntfs-3g", "mergerfs"}
"""FUSE file systems of one machine. Of any other it cannot be known, and sshfs is the usual one."""
OWN_LOCKS = {"nolock", "local_lock=all", "local_lock=flock", "localflock", "nobrl"}
"""Options of nfs(5), Lustre and mount.cifs(8) by which flock is seen on this machine alone."""


@dataclass(frozen=True)
class Mount:
    """A mounted file system: its place, its kind (nfs4, ext4, fuse.sshfs) and its options."""

    point: Path
    kind: str
    options: frozenset[str]

    @property
    def network(self) -> bool:
        """Whether other machines may change the same files."""
        kind, _, inner = self.kind.partition(".")
        return kind in NETWORK or (kind == "fuse" and inner not in LOCAL_FUSE)

    @property
    def lonely(self) -> bool:
        """Whether other machines may change the files, but do not see this machine's locks."""
        return self.network and (self.kind.startswith("fuse") or bool(OWN_LOCKS & self.options))

    def __str__(self) -> str:
        return f"{self.kind} at {self.point}"


def of(path: Path) -> Mount | None:
    """The file system that a path lies on, or would if it were made; None where that is not told.

    Links are followed. The longest mount point above the path counts, and of several mounts at one
    point the last.
    """
    try:
        lines = TABLE.read_text().splitlines()
    except OSError:  # no /proc
        return None
    place, found = Path(os.path.realpath(path)), None
    for line in lines:
        left, _, right = line.partition(" - ")
        fields, (kind, _, inner) = left.split(), right.split()[:3]
        point = Path(_plain(fields[4]))
        longer = found is None or len(point.parts) >= len(found.point.parts)
        if longer and place.is_relative_to(point):
            found = Mount(point, kind, frozenset(f"{fields[5]},{inner}".split(",")))
    return found


def network(path: Path) -> Mount | None:
    """The file system that a path lies on if that is a network's, else None."""
    mount = of(path)
    return mount if mount and mount.network else None


def _plain(name: str) -> str:
    """Blanks and the like stand there as octal numbers."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), name)
