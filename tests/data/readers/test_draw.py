"""The draw: the same every time, balanced, open about what is broken, and thrifty."""

from collections import Counter

import numpy as np
import pytest

from steps.data.readers import classes
from steps.data.readers.classes import imagefolder
from steps.data.readers.draw import draw
from steps.data.readers.listing import order
from steps.data.readers.pictures import Broken
from steps.stage import StageError

BOTH = {"train": 5, "test": 3}


def test_a_seed_draws_the_same_and_another_another(imagenet):
    first, again = (draw(imagefolder(imagenet), BOTH, size=8, seed=3) for _ in range(2))
    assert first.table.equals(again.table) and (first.images == again.images).all()
    other = draw(imagefolder(imagenet), BOTH, size=8, seed=4)
    assert set(other.table["item"]) != set(first.table["item"])


def test_the_draw_does_not_hang_on_the_order_of_the_listing(imagenet):
    listing = imagefolder(imagenet)
    first = draw(listing, BOTH, size=8)
    for items in listing.items.values():
        items.reverse()
    assert draw(listing, BOTH, size=8).table.equals(first.table)


def test_a_file_more_moves_no_other(imagenet, paint):
    listing = imagefolder(imagenet)
    before = [i.name for i in order(listing.items["train"], 0, "draw")]
    paint(imagenet / "train" / "n01440764" / "new.JPEG", (200, 40, 40))
    after = [i.name for i in order(imagefolder(imagenet).items["train"], 0, "draw")]
    assert [name for name in after if "new" not in name] == before


def test_rows_go_by_rank_so_that_the_first_show_every_class(imagenet):
    table = draw(imagefolder(imagenet), BOTH, size=8).table
    test = table[table.split == "test"]
    assert list(test.label) == sorted(set(test.label)) * 3


def test_only_what_is_drawn_is_opened(imagenet, monkeypatch):
    opened = Counter()
    true = classes.read

    def counted(path):
        opened[path] += 1
        return true(path)

    monkeypatch.setattr(classes, "read", counted)
    drawn = draw(imagefolder(imagenet), {"train": 2, "test": 1}, size=8)
    assert drawn.tried == len(opened) == 9 and set(opened.values()) == {1}


def test_the_next_of_the_class_takes_a_broken_one_s_place_and_it_is_counted(imagenet):
    whole = draw(imagefolder(imagenet), BOTH, size=8)
    rows = whole.table[(whole.table.split == "train") & (whole.table.label == "n02102040")]
    hurt = rows["item"].iloc[[1, 3]].tolist()
    (imagenet / hurt[0]).write_bytes(b"")
    (imagenet / hurt[1]).write_bytes(b"no image")
    drawn = draw(imagefolder(imagenet), BOTH, size=8, broken_share=0.2)
    assert drawn.broken == [
        Broken(hurt[0], "empty (0 bytes)"),
        Broken(hurt[1], "not an image"),
    ]
    assert drawn.tried == whole.tried + 2 and drawn.short == {}
    count = drawn.table.groupby(["split", "label"]).size().unstack()
    assert (count.loc["train"] == 5).all() and (count.loc["test"] == 3).all()
    gone = set(whole.table["item"]) - set(drawn.table["item"])
    come = set(drawn.table["item"]) - set(whole.table["item"])
    assert gone == set(hurt)  # all others stay
    listing = imagefolder(imagenet)
    queue = [i.name for i in order(listing.items["train"], 0, "draw") if i.label == "n02102040"]
    assert come == set(queue[5:7])


def test_too_many_broken_ones_stop_after_the_first_round(imagenet, monkeypatch):
    for path in sorted((imagenet / "train" / "n01440764").iterdir()):
        path.write_bytes(b"")
    match = (
        r"2 of 6 images tried in the split train .*share 0\.3 .*2 empty \(0 bytes\); first train/"
    )
    with pytest.raises(StageError, match=match):
        draw(imagefolder(imagenet), {"train": 2, "test": 1}, size=8, broken_share=0.3)
    with pytest.raises(StageError, match="no class 'n01440764' of the split train can be read"):
        draw(imagefolder(imagenet), {"train": 2, "test": 1}, size=8, broken_share=1)


def test_the_share_is_that_of_a_split(imagenet):
    first = draw(imagefolder(imagenet), {"train": 8, "test": 3}, size=8).table
    (imagenet / first[first.split == "test"]["item"].iloc[0]).unlink()
    (imagenet / "val" / "n01440764" / "gone.JPEG").symlink_to(imagenet / "nowhere")
    drawn = draw(imagefolder(imagenet), {"train": 8, "test": 3}, size=8, broken_share=0.2)
    assert {b.reason for b in drawn.broken} <= {"missing"}
    for path in list((imagenet / "val" / "n02102040").iterdir())[:3]:
        path.write_bytes(b"GIF")
    with pytest.raises(StageError, match="in the split test are broken"):  # 3 of 33 in all
        draw(imagefolder(imagenet), {"train": 8, "test": 3}, size=8, broken_share=0.15)


def test_a_class_with_fewer_gives_all_it_has_and_is_told(imagenet):
    drawn = draw(imagefolder(imagenet), {"train": 8, "test": 50}, size=8)
    assert drawn.short == {f"test/{name}": 4 for name in set(drawn.table.label)}
    assert len(drawn.images) == 36 and np.unique(drawn.table["item"]).size == 36
