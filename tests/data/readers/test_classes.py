"""Folders named after classes: labels, splits, and what is refused."""

import numpy as np
import pytest
from PIL import Image

from steps.data.readers.classes import imagefolder
from steps.data.readers.draw import draw
from steps.stage import Missing, StageError


def test_imagenet_s_folders_give_labels_that_the_colours_bear_out(imagenet, colour_class):
    listing = imagefolder(imagenet)
    assert listing.classes == ("n01440764", "n02102040", "n03000684")
    assert {part: len(items) for part, items in listing.items.items()} == {"train": 24, "test": 12}
    drawn = draw(listing, {"train": 6, "test": 3}, size=16, broken_share=0)
    assert drawn.images.shape == (27, 16, 16, 3) and drawn.images.dtype == np.uint8
    assert [colour_class(image) for image in drawn.images] == list(drawn.table.label)
    assert drawn.table.groupby(["split", "label"]).size().to_dict() == {
        (part, name): n for part, n in (("train", 6), ("test", 3)) for name in listing.classes
    }
    folder = drawn.table.item.str.split("/").str
    assert (folder[1] == drawn.table.label).all()
    assert (folder[0].map({"train": "train", "val": "test"}) == drawn.table.split).all()
    assert drawn.table.item.is_unique


def test_named_splits_and_deeper_folders_are_read(tmp_path, paint):
    for name in ("cat", "dog"):
        paint(tmp_path / "fit" / name / "deep" / "er" / "1.webp", (9, 9, 9))
        paint(tmp_path / "judge" / name / "1.png", (9, 9, 9))
        (tmp_path / "fit" / name / "notes.txt").write_text("no image")
        (tmp_path / "fit" / name / "._1.png").write_text("a Mac's")
        (tmp_path / "fit" / ".cache").mkdir(exist_ok=True)
    listing = imagefolder(tmp_path, {"train": "fit", "test": "judge"})
    assert [i.name for i in listing.items["train"]] == [
        "fit/cat/deep/er/1.webp",
        "fit/dog/deep/er/1.webp",
    ]


def test_a_folder_without_splits_is_parted_by_a_seeded_share(imagenet):
    def parts(root, **how):
        listing = imagefolder(root, **how)
        return {part: {i.name for i in items} for part, items in listing.items.items()}

    root = imagenet / "train"
    first = parts(root, test_share=0.25, seed=1)
    assert not first["train"] & first["test"]
    assert (len(first["train"]), len(first["test"])) == (18, 6)
    for name in ("n01440764", "n02102040", "n03000684"):
        assert sum(name in path for path in first["test"]) == 2
    assert first == parts(root, test_share=0.25, seed=1)
    assert first != parts(root, test_share=0.25, seed=2)


def test_classes_that_differ_between_splits_are_named(imagenet):
    (imagenet / "val" / "n03000684").rename(imagenet / "val" / "n99999999")
    with pytest.raises(StageError, match=r"train \['n03000684'\]; only in test \['n99999999'\]"):
        imagefolder(imagenet)


def test_one_class_only_is_refused(tmp_path, paint):
    for part in ("train", "val"):
        paint(tmp_path / part / "cat" / "1.png", (9, 9, 9))
    with pytest.raises(StageError, match="one class only, 'cat': a probe needs two"):
        imagefolder(tmp_path)
    with pytest.raises(StageError, match="one class only, 'cat'"):
        for i in range(4):
            paint(tmp_path / "train" / "cat" / f"{i}.png", (9, 9, 9))
        imagefolder(tmp_path / "train")


def test_a_class_with_one_image_cannot_be_parted(tmp_path, paint):
    for name in ("cat", "dog"):
        for i in range(1 if name == "dog" else 5):
            paint(tmp_path / name / f"{i}.png", (9, 9, 9))
    with pytest.raises(StageError, match=r"differ \(only in train \['dog'\]\).*two where one"):
        imagefolder(tmp_path)


def test_other_layouts_say_what_is_missing(tmp_path, paint):
    with pytest.raises(Missing, match="no folder .*nowhere with images"):
        imagefolder(tmp_path / "nowhere")
    paint(tmp_path / "train" / "cat" / "1.png", (9, 9, 9))
    with pytest.raises(Missing, match="a folder train, but none of val, validation"):
        imagefolder(tmp_path)
    paint(tmp_path / "val" / "ILSVRC2012_val_00000001.JPEG", (9, 9, 9))
    with pytest.raises(StageError, match="images side by side: move each into its class's"):
        imagefolder(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(StageError, match="another layout"):
        imagefolder(tmp_path / "empty")


def test_every_kind_of_file_and_mode_is_read_as_what_it_holds(imagenet, colour_class):
    folder = imagenet / "train" / "n01440764"
    red = Image.new("RGB", (30, 30), (200, 40, 40))
    for path in folder.iterdir():
        path.unlink()
    red.save(folder / "png.JPEG", "PNG")  # ImageNet has one of these, and some in CMYK
    red.convert("CMYK").save(folder / "cmyk.JPEG", "JPEG")
    red.convert("RGBA").save(folder / "alpha.png")
    red.convert("P").save(folder / "palette.gif")
    drawn = draw(imagefolder(imagenet), {"train": 4, "test": 1}, size=16, broken_share=0)
    told = drawn.table[drawn.table.label == "n01440764"].index
    assert len(told) == 5
    assert {colour_class(drawn.images[i]) for i in told} == {"n01440764"}
