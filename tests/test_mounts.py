"""Which file system a path lies on, from tables as the kernel writes them."""

from pathlib import Path

import pytest

from steps import mounts
from tests.mounted import mount

TABLE = """\
28 1 259:1 / / rw,relatime shared:1 - ext4 /dev/nvme0n1p1 rw,errors=remount-ro
30 28 0:26 / /people rw,relatime shared:2 - autofs /etc/auto.home rw,fd=7,pgrp=1
31 30 0:50 / /people/ada rw,relatime shared:3 - nfs4 server:/export/ada rw,vers=4.2,hard
32 31 0:51 / /people/ada/my\\040disk rw shared:4 - ext4 /dev/sdb1 rw
33 28 0:52 / /scratch rw - xfs /dev/sdc1 rw
34 28 0:53 / /scratch rw master:1 - lustre 10.0.0.1@o2ib:/work rw,localflock,lazystatfs
35 28 0:54 / /remote rw - fuse.sshfs ada@server: rw,user_id=0
36 28 0:55 / /vault rw - fuse.gocryptfs /cipher rw,user_id=0
37 28 0:56 / /share rw - cifs //server/share rw,vers=3.1.1
"""


@pytest.mark.parametrize(
    ("path", "kind", "network", "lonely"),
    [
        ("/people/ada/study/results", "nfs4", True, False),
        ("/people/adam", "autofs", False, False),  # not below /people/ada
        ("/people/ada/my disk/study", "ext4", False, False),
        ("/scratch/x", "lustre", True, True),  # mounted over the disk that was there
        ("/remote/x", "fuse.sshfs", True, True),
        ("/vault/x", "fuse.gocryptfs", False, False),
        ("/share", "cifs", True, False),
        ("/nowhere/yet", "ext4", False, False),
    ],
)
def test_the_last_and_longest_mount_counts(tmp_path, monkeypatch, path, kind, network, lonely):
    (tmp_path / "mountinfo").write_text(TABLE)
    monkeypatch.setattr(mounts, "TABLE", tmp_path / "mountinfo")
    found = mounts.of(Path(path))
    assert found and (found.kind, found.network, found.lonely) == (kind, network, lonely)
    assert (mounts.network(Path(path)) is not None) == network


def test_a_link_counts_as_where_it_leads(tmp_path, monkeypatch):
    far = tmp_path / "far away"
    far.mkdir()
    mount(monkeypatch, far, "nfs", "vers=3,nolock")
    (tmp_path / "results").symlink_to(far)
    found = mounts.of(tmp_path / "results" / "smoke")
    assert found and found.lonely and str(found) == f"nfs at {far}"
    assert mounts.network(tmp_path) is None


def test_the_kernels_own_table_is_read():
    if not mounts.TABLE.exists():
        pytest.skip("no /proc on this system")
    found = mounts.of(Path("/proc/self"))
    assert found and found.kind == "proc" and not found.network


def test_without_a_table_nothing_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(mounts, "TABLE", tmp_path / "none")
    assert mounts.of(tmp_path) is None and mounts.network(tmp_path) is None
