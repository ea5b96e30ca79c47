"""Which photographs a study shows, and that any change of them is seen."""

from types import SimpleNamespace

import pytest

from steps.data.album import album, folders
from steps.stage import StageError


def test_what_is_read_is_told_and_nothing_else(folder):
    first = album(str(folder))
    assert first["folder"] == str(folder) and first["files"] == 38
    (folder / "fruit/sound.ogg").write_text("no part of it")
    assert album(str(folder)) == first


def test_every_change_of_what_is_read_is_seen(folder, cutout):
    seen = [album(str(folder))["sha256"]]
    changes = [
        lambda: cutout(folder / "fruit/sub/thing-01.png", (9, 9, 9)),
        lambda: cutout(folder / "fruit/sub/thing-12.png", (9, 9, 9)),
        lambda: (folder / "toys/sub/thing-03.txt").write_text("A blue ball.\n"),
        lambda: (folder / "toys/sub/thing-04.png").rename(folder / "toys/sub/thing-40.png"),
        lambda: (folder / "tools/sub/thing-00.png").unlink(),
    ]
    for change in changes:
        change()
        seen.append(album(str(folder))["sha256"])
    assert len(set(seen)) == 1 + len(changes)


def test_auto_takes_the_stamps_where_they_are(folder, monkeypatch):
    monkeypatch.setattr("steps.data.album.STAMPS", folder / "elsewhere")
    assert album("auto") == album("off") == {"folder": None, "files": 0, "sha256": None}
    monkeypatch.setattr("steps.data.album.STAMPS", folder)
    assert album("auto") == album(str(folder))


def test_a_folder_that_cannot_do_is_one_sentence(folder, cutout):
    with pytest.raises(StageError, match="there is no folder .*spam: give auto, off or"):
        album(str(folder / "spam"))
    for i in range(12):  # cartoons do not count
        (folder / "fruit" / "sub" / f"thing-{i:02d}.png").unlink()
        (folder / "toys" / "sub" / f"thing-{i:02d}.png").unlink()
        cutout(folder / "toys/cartoon" / f"{i}.png", (1, 2, 3))
    with pytest.raises(StageError, match="fewer than two folders of at least 10 PNG files"):
        album(str(folder))


def test_folders_of_data_are_told_by_names_and_sizes(tmp_path):
    root = tmp_path / "data"
    (root / "train/a").mkdir(parents=True)
    (root / "train/a/1.png").write_bytes(b"123")
    one = SimpleNamespace(name="own", path=str(root))
    (told,) = folders([one])
    assert told["files"] == 1 and folders([one]) == [told] and folders([]) == []
    (root / "train/a/1.png").write_bytes(b"1234")
    (grown,) = folders([one])
    (root / "train/a/1.png").rename(root / "train/a/2.png")
    (moved,) = folders([one])
    (root / "train/b").mkdir()
    assert len({told["sha256"], grown["sha256"], moved["sha256"]}) == 3
    (root / "train/a/broken").symlink_to("nowhere")
    assert folders([one])[0]["files"] == 2
    with pytest.raises(StageError, match="own: there is no folder"):
        folders([SimpleNamespace(name="own", path=str(tmp_path / "none"))])
