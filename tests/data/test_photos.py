import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from steps.data import photos
from steps.data import stamps as table


@pytest.fixture(scope="module")
def stamps(need_debian):
    need_debian(table.PACKAGE, photos.STAMPS)
    return photos.bank()


def test_a_folder_of_your_own(folder):
    bank = photos.bank(folder)
    assert len(bank) == 36 and bank.classes == ("fruit", "tools", "toys")
    assert bank.left_out == {"drawing": 1, "small category": 1, "corrupt": 0}
    names = dict(zip(bank.paths, bank.names, strict=True))
    assert names["toys/sub/thing-03.png"] == "A red ball"
    assert names["toys/sub/thing-04.png"] == "thing 04"


def test_split_is_stratified_fixed_and_by_photograph(folder, cutout):
    bank = photos.bank(folder)
    again = photos.bank(str(folder))
    assert bank.splits == again.splits
    for kind in bank.classes:
        sides = [s for s, c in zip(bank.splits, bank.categories, strict=True) if c == kind]
        assert sides.count("test") == 4 and sides.count("train") == 8
    cutout(folder / "new" / "one.png", (9, 9, 9))  # another folder moves no photograph
    assert photos.bank(folder).splits == bank.splits


def test_sprites_keep_proportions_and_no_hidden_colour_bleeds_in(folder):
    bank = photos.bank(folder)
    sprites = bank.sprites(24)
    assert sprites.shape == (36, 24, 24, 4) and sprites.dtype == np.uint8
    solid = sprites[..., 3] >= 128
    assert (solid.sum((1, 2)) == 24 * 18).all()  # 40 x 30 cropped from 60 x 40
    assert solid[:, 3:21].all() and not solid[:, :3].any() and not solid[:, 21:].any()
    i = bank.paths.index("tools/sub/thing-05.png")
    assert (sprites[i][solid[i]][:, :3] == (100, 160, 130)).all()


@pytest.mark.parametrize("size", [13, 40])
def test_a_curved_outline_resampled_has_no_fringe_of_the_hidden_colour(folder, size):
    y, x = np.mgrid[:90, :90] - 44.5
    disc = np.full((90, 90, 4), (255, 255, 255, 0), np.uint8)
    disc[np.hypot(y, x) < 40] = (200, 0, 0, 255)
    Image.fromarray(disc).save(folder / "toys/sub/thing-00.png")
    bank = photos.bank(folder)
    sprite = bank.sprites(size)[bank.paths.index("toys/sub/thing-00.png")].astype(int)
    partly = (sprite[..., 3] > 40) & (sprite[..., 3] < 255)
    assert partly.any()
    assert sprite[partly][:, 1:3].max() <= 2  # the hidden white would show in green and blue
    assert abs(sprite[partly][:, 0] - 200).max() <= 16  # Lanczos rings a little
    assert abs((sprite[..., 3] / 255).sum() - np.pi * size**2 / 4) < 0.03 * size**2


def test_a_damaged_file_is_listed_and_counted_and_moves_no_other(folder):
    before = photos.bank(folder)
    hurt = before.paths[7]
    data = (folder / hurt).read_bytes()
    (folder / hurt).write_bytes(data[: len(data) // 2])
    bank = photos.bank(folder)
    assert bank.corrupt == [hurt] and bank.left_out["corrupt"] == 1 and len(bank) == 35
    splits = dict(zip(before.paths, before.splits, strict=True))
    assert bank.splits == [splits[p] for p in bank.paths]


@pytest.mark.parametrize("damage", ["truncated", "empty", "text", "no alpha", "all transparent"])
def test_many_damaged_files_stop_with_the_first_named(folder, damage):
    for path in sorted((folder / "fruit/sub").iterdir())[:3]:
        if damage == "no alpha":
            Image.new("RGB", (20, 20)).save(path)
        elif damage == "all transparent":
            Image.new("RGBA", (20, 20)).save(path)
        else:
            whole = path.read_bytes()
            content = {"truncated": whole[: len(whole) // 2], "empty": b"", "text": b"no image"}
            path.write_bytes(content[damage])
    with pytest.raises(ValueError, match="3 of 37 PNG files .* first is fruit/sub/thing-00.png"):
        photos.bank(folder)


def test_more_categories_than_scenes_can_number_are_refused(folder, monkeypatch):
    monkeypatch.setattr(photos, "MOST", 2)
    with pytest.raises(ValueError, match=r"more than 2 folders .*probes\.photos"):
        photos.bank(folder)


def test_picks_are_of_the_category_and_the_split_and_leave_none_out(folder):
    bank = photos.bank(folder)
    kinds = np.random.default_rng(0).integers(0, 3, (200, 3))
    for split in ("train", "test"):
        found = bank.pick(np.random.default_rng(1), kinds, split)
        assert (np.array(bank.categories)[found] == np.array(bank.classes)[kinds]).all()
        assert set(found.flat) == set(np.flatnonzero(np.array(bank.splits) == split))


def test_absent_and_unfit_folders_say_what_to_do(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"tuxpaint-stamps-default.*probes\.photos"):
        photos.bank(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"fewer than two folders.*probes\.photos"):
        photos.bank(tmp_path)


def test_the_list_of_verdicts_is_sound():
    with table.VERDICTS.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    paths = [row["path"] for row in rows]
    assert len(rows) == 802 and paths == sorted(set(paths))
    words = {"keep", "drawing", "duplicate", "faint", "doubtful", "occasion"}
    assert {row["verdict"] for row in rows} == words
    for row in rows:
        assert row["name"] and row["category"] and row["verdict"] in str(table.__doc__)
        if row["verdict"] == "keep":
            assert "cartoon" not in Path(row["path"]).parts
            assert row["category"] in Path(row["path"]).parts[:2]


@pytest.mark.debian
def test_stamps_are_photographs_with_true_masks(stamps):
    assert len(stamps) == 321 and len(stamps.classes) == 9 and not stamps.corrupt
    with table.VERDICTS.open(encoding="utf-8", newline="") as file:
        drawn = [r["path"] for r in csv.DictReader(file) if r["verdict"] == "drawing"]
    installed = sum((photos.STAMPS / path).is_file() for path in drawn)
    assert installed in (418, 424)  # six come with the package tuxpaint-data
    assert stamps.left_out["drawing"] == installed
    assert "unlisted" not in stamps.left_out
    for kind in stamps.classes:
        sides = [s for s, c in zip(stamps.splits, stamps.categories, strict=True) if c == kind]
        assert 4 <= sides.count("test") <= len(sides) / 2
    share = (stamps.sprites(40)[..., 3] >= 128).mean((1, 2))
    thin = [p for p, s in zip(stamps.paths, share, strict=True) if s < 0.05]
    assert not thin  # each still shows at the size of a main photograph


@pytest.mark.debian
def test_no_stamp_is_shown_in_both_splits_mirrored_or_twice(stamps):
    # On grey, at 24 pixels, a copy or its mirror image correlates above .97; the nearest that
    # are not copies, two euro coins, at .957.
    sprites = stamps.sprites(24).astype(np.float32)
    alpha = sprites[..., 3:] / 255
    grey = (sprites[..., :3] * alpha + 128 * (1 - alpha)).mean(-1)

    def normed(a):
        flat = a.reshape(len(a), -1)
        flat = flat - flat.mean(1, keepdims=True)
        return flat / np.linalg.norm(flat, axis=1, keepdims=True)

    here = np.array(stamps.splits) == "train"
    a, b = normed(grey[here]), grey[~here]
    worst = max((a @ normed(b).T).max(), (a @ normed(b[:, :, ::-1]).T).max())
    assert worst < 0.97
