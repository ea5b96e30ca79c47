"""Images with maps: that a map's class is the image's colour, and what masks may not be."""

import numpy as np
import pytest
from PIL import Image

from steps.data.readers.draw import draw
from steps.data.readers.masks import VOC, ade20k, folder
from steps.data.readers.masks import voc as pascal
from steps.stage import Missing, StageError

BOX = [(200, 40, 40), (40, 200, 40), (40, 40, 200)]


def bears_out(drawn, classes):
    """Whether the pixels of each class have its colour, and those of the background are grey."""
    assert drawn.images.shape[:3] == drawn.maps.shape and drawn.maps.dtype == np.uint8
    for image, map_ in zip(drawn.images.astype(int), drawn.maps, strict=True):
        (k,) = set(np.unique(map_)) - {0, 255}
        inside = map_ == k
        inside[1:] &= inside[:-1].copy()  # without its edge, which is blurred
        inside[:-1] &= inside[1:].copy()
        inside[:, 1:] &= inside[:, :-1].copy()
        inside[:, :-1] &= inside[:, 1:].copy()
        assert inside.any() and k in classes
        assert np.abs(np.median(image[inside], 0) - BOX[(k - 1) % 3]).max() < 12
        around = image[:3].reshape(-1, 3)
        assert np.abs(np.median(around, 0) - 128).max() < 6


@pytest.mark.parametrize("fit", ["crop", "squash"])
def test_ade20k_names_its_classes_and_ignores_other(ade, fit):
    listing = ade20k(ade)
    assert len(listing.classes) == 150
    assert listing.classes[:4] == ("wall", "building", "bed", "thing 4")
    drawn = draw(listing, {"train": 6, "test": 3}, size=20, fit=fit, broken_share=0)
    assert list(drawn.table.split) == ["train"] * 6 + ["test"] * 3
    assert list(drawn.table.columns) == ["item", "split"]
    assert drawn.table["item"][0].startswith("images/training/ADE_train_")
    assert set(np.unique(drawn.maps)) == {1, 2, 3, 255}
    bears_out(drawn, {1, 2, 3})


def test_voc_s_palettes_are_indices_and_its_border_is_ignored(voc):
    listing = pascal(voc)
    assert listing.classes == tuple(VOC) and len(VOC) == 20
    assert listing.items == pascal(voc / "VOC2012").items
    assert [len(v) for v in listing.items.values()] == [6, 4]  # what no list names is not taken
    drawn = draw(listing, {"train": 6, "test": 4}, size=30, broken_share=0)
    assert set(np.unique(drawn.maps)) == {0, 1, 8, 15, 255}
    bears_out(drawn, {1, 8, 15})
    assert drawn.untaught == [] and drawn.classes[7] == "cat"


def test_any_two_folders(pairs):
    listing = folder(pairs, test_share=0.3, seed=2)
    assert listing.classes == ("fish", "dog", "saw")
    assert [len(v) for v in listing.items.values()] == [7, 3]
    drawn = draw(listing, {"train": 7, "test": 3}, size=24, broken_share=0)
    bears_out(drawn, {1, 2, 3})  # whether a mask is grey or has a palette
    (pairs / "classes.txt").unlink()
    drawn = draw(folder(pairs), {"train": 7, "test": 2}, size=24, broken_share=0)
    assert drawn.classes == ("1", "2", "3")


def test_folders_of_splits_are_taken_as_they_are(tmp_path, scene):
    for split, n in (("train", 4), ("val", 2)):
        for i in range(n):
            scene(tmp_path / f"images/{split}/{i}.png", tmp_path / f"masks/{split}/{i}.png", 1 + i)
    items = folder(tmp_path).items
    assert [i.name for i in items["test"]] == ["images/val/0.png", "images/val/1.png"]
    assert len(items["train"]) == 4


def test_a_mask_in_colours_is_refused_by_name(pairs):
    path = pairs / "masks" / "03.png"
    Image.open(path).convert("RGB").save(path)
    with pytest.raises(StageError, match=r"03\.png is a mask of mode RGB.*mode L or P"):
        draw(folder(pairs), {"train": 9, "test": 9}, size=8)


def test_palettes_made_file_by_file_are_refused(pairs):
    path = pairs / "masks" / "03.png"
    mask = Image.open(path)
    colours = mask.getpalette()
    colours[:6] = colours[3:6] + colours[:3]  # the first two indices change places
    mask.putpalette(colours)
    mask.save(path)
    with pytest.raises(StageError, match=r"index 0 has the colour .* palettes differ"):
        draw(folder(pairs), {"train": 9, "test": 9}, size=8)


def test_classes_without_a_name_are_refused(pairs):
    (pairs / "classes.txt").write_text("background\nfish\ndog\n")
    with pytest.raises(StageError, match=r"\.png holds the class 3, and there are 2 besides 0"):
        draw(folder(pairs), {"train": 9, "test": 9}, size=8)
    for text in ("fish\ndog\nsaw\n", "background\nfish\nfish\n", "background\nbackground\n"):
        (pairs / "classes.txt").write_text(text)
        with pytest.raises(StageError, match=r"classes\.txt begins with .* first `background`"):
            folder(pairs)


def test_16_bit_and_1_bit_masks_are_indices_too(pairs):
    for i in range(10):
        path = pairs / "masks" / f"{i:02d}.png"
        index = np.array(Image.open(path))
        Image.fromarray(index.astype(np.uint16) if i % 2 else index > 0).save(path)
    drawn = draw(folder(pairs), {"train": 8, "test": 2}, size=24, broken_share=0)
    assert set(np.unique(drawn.maps)) <= {0, 1, 2, 3} and len(np.unique(drawn.maps)) > 2
    Image.fromarray(np.full((30, 40), 300, np.uint16)).save(pairs / "masks/00.png")
    with pytest.raises(StageError, match=r"00\.png holds the class 300"):
        draw(folder(pairs), {"train": 8, "test": 2}, size=24)


def test_all_background_masks(pairs, scene):
    blank = Image.new("L", (40, 30), 0)
    blank.save(pairs / "masks" / "00.png")  # one such image is an image without objects
    drawn = draw(folder(pairs), {"train": 8, "test": 2}, size=24, broken_share=0)
    assert len(drawn.maps) == 10 and sum(not m.any() for m in drawn.maps) == 1
    for path in (pairs / "masks").iterdir():
        blank.save(path)
    with pytest.raises(StageError, match="all training masks hold one class, 0; a probe needs"):
        draw(folder(pairs), {"train": 8, "test": 2}, size=24)
    for path in (pairs / "masks").iterdir():  # an editor's black and white
        half = np.zeros((30, 40), np.uint8)
        half[:, 20:] = 255
        Image.fromarray(half).save(path)
    with pytest.raises(StageError, match=r"class, 0 \(255 means ignored: write an object's"):
        draw(folder(pairs), {"train": 8, "test": 2}, size=24)


def test_what_is_wrong_with_a_pair_is_listed(pairs, scene):
    first = folder(pairs)
    for i in range(10, 40):
        scene(pairs / "images" / f"{i}.png", pairs / "masks" / f"{i}.png", 1 + i % 3)
    (pairs / "masks" / "00.png").unlink()
    (pairs / "images" / "01.jpg").unlink()
    (pairs / "masks" / "02.png").write_bytes(b"")
    (pairs / "images" / "03.jpg").write_bytes(b"")
    Image.new("L", (30, 40), 1).save(pairs / "masks" / "04.png")  # 40 x 30 is the image
    whole = (pairs / "masks" / "05.png").read_bytes()
    (pairs / "masks" / "05.png").write_bytes(whole[:-30])
    Image.new("L", (40, 30), 255).save(pairs / "masks" / "06.png")
    assert len(first.items["train"]) == 8
    drawn = draw(folder(pairs), {"train": 32, "test": 8}, size=8, broken_share=0.5)
    assert {b.path.removeprefix("images/"): b.reason for b in drawn.broken} == {
        "00.jpg": "mask missing",
        "01.jpg": "missing",
        "02.jpg": "mask empty (0 bytes)",
        "03.jpg": "empty (0 bytes)",
        "04.jpg": "mask and image differ in size",
        "05.jpg": "mask truncated",
        "06.jpg": "no pixel of its mask has a class",
    }
    assert drawn.tried == 40 and len(drawn.images) == 33


def test_a_turned_image_needs_a_mask_of_what_is_displayed(pairs):
    exif = Image.Exif()
    exif[274] = 6
    for i in range(10):
        path = pairs / "images" / f"{i:02d}.jpg"
        Image.open(path).save(path, exif=exif, quality=95)
    with pytest.raises(StageError, match="differ in size, the image as its EXIF turns it"):
        draw(folder(pairs), {"train": 8, "test": 2}, size=24)
    for i in range(10):  # 6: what is shown is the stored image, turned clockwise
        path = pairs / "masks" / f"{i:02d}.png"
        mask = Image.open(path).transpose(Image.Transpose.ROTATE_270)
        mask.save(path)
    bears_out(draw(folder(pairs), {"train": 8, "test": 2}, size=24), {1, 2, 3})


def test_classes_that_only_test_holds_are_told(tmp_path, scene):
    for split, kinds in (("train", (1, 2)), ("val", (1, 3))):
        for i, k in enumerate(kinds):
            scene(tmp_path / f"images/{split}/{i}.png", tmp_path / f"masks/{split}/{i}.png", k)
    drawn = draw(folder(tmp_path), {"train": 2, "test": 2}, size=24)
    assert drawn.untaught == ["3"]


def test_other_layouts_say_what_is_missing(tmp_path, ade, voc):
    with pytest.raises(Missing, match="no file .*objectInfo150.txt: give the path of ADEChal"):
        ade20k(tmp_path / "nowhere")
    (ade / "objectInfo150.txt").write_text("Name\nwall\nsky\n")
    with pytest.raises(StageError, match="must number its lines from 1 on"):
        ade20k(ade)
    with pytest.raises(Missing, match="has no folder JPEGImages: give the folder"):
        pascal(tmp_path / "nowhere")
    with pytest.raises(Missing, match="has no folder masks"):
        folder(ade)
    (tmp_path / "masks").mkdir()
    (tmp_path / "more" / "images").mkdir(parents=True)
    (tmp_path / "more" / "masks").mkdir()
    with pytest.raises(StageError, match="has no images for the split train"):
        folder(tmp_path / "more")
