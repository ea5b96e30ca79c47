"""Small data sets in each public layout; an image's colour tells its class."""

import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

COLOURS = {"n01440764": (200, 40, 40), "n02102040": (40, 200, 40), "n03000684": (40, 40, 200)}
GREY = (128, 128, 128)


def _paint(path, colour, size=(40, 30), **saved):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path, **saved)
    return path


@pytest.fixture
def paint():
    """Writes an image of one colour: (path, colour, size, **how to save)."""
    return _paint


@pytest.fixture
def colour_class():
    """The class whose colour an image uint8 [H, W, 3] has."""

    def name(image):
        return max(COLOURS, key=lambda c: -np.abs(image.mean((0, 1)) - COLOURS[c]).sum())

    return name


@pytest.fixture
def imagenet(tmp_path):
    """ImageNet's folders: 8 images a class to train on, 4 to test on."""
    for k, (name, colour) in enumerate(COLOURS.items()):
        for i in range(8):
            shade = tuple(c + i for c in colour)
            _paint(tmp_path / "train" / name / f"{name}_{i}.JPEG", shade, (40 + i, 30 + k))
        for i in range(4):
            file = f"ILSVRC2012_val_{3 * i + k:08d}.JPEG"
            _paint(tmp_path / "val" / name / file, colour)
    return tmp_path


@pytest.fixture
def rows():
    """Bytes and labels as Hugging Face's table: (list of bytes, labels, names or None)."""

    def table(data, labels, names=("tench", "English springer", "chain saw")):
        image = pa.array(
            [{"bytes": b, "path": f"{i}.JPEG"} for i, b in enumerate(data)],
            pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
        )
        made = pa.table({"image": image, "label": pa.array(labels, pa.int64())})
        if names is None:
            return made
        features = {"image": {"_type": "Image"}, "label": {"names": names, "_type": "ClassLabel"}}
        told = {"huggingface": json.dumps({"info": {"features": features}})}
        return made.replace_schema_metadata(told)

    return table


def _jpeg(colour):
    file = io.BytesIO()
    Image.new("RGB", (36, 28), colour).save(file, "JPEG")
    return file.getvalue()


@pytest.fixture
def hub(tmp_path, rows):
    """ImageNet-1k's Parquet files: 2 of train (24 images, row groups of 5), 1 of validation."""
    colours = list(COLOURS.values())
    (tmp_path / "data").mkdir()
    for name, count in (("train-00000-of-00002", 12), ("train-00001-of-00002", 12),
                        ("validation-00000-of-00001", 9)):  # fmt: skip
        labels = [i % 3 for i in range(count)]
        table = rows([_jpeg(colours[k]) for k in labels], labels)
        pq.write_table(table, tmp_path / "data" / f"{name}.parquet", row_group_size=5)
    return tmp_path


def _scene(image, mask, k, size=(40, 30), saved="L", ring=False):
    """A grey image with a box of class k's colour, and its mask of indices, ringed by 255."""
    for path in (image, mask):
        path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((size[1], size[0], 3), GREY, np.uint8)
    index = np.zeros(pixels.shape[:2], np.uint8)
    inner, outer = (slice(10, 20), slice(12, 28)), (slice(8, 22), slice(10, 30))
    if ring:
        index[outer] = 255
    pixels[inner], index[inner] = list(COLOURS.values())[(k - 1) % 3], k
    Image.fromarray(pixels).save(image, quality=95)
    drawn = Image.fromarray(index)
    if saved == "P":
        drawn = Image.frombytes("P", size, index.tobytes())
        drawn.putpalette(bytes((37 * i + j) % 256 for i in range(256) for j in (0, 85, 170)))
    drawn.save(mask)


@pytest.fixture
def scene():
    """Writes an image and its mask: (image, mask, class, size, mode of the mask, ring)."""
    return _scene


@pytest.fixture
def ade(tmp_path):
    """ADEChallengeData2016, with the stray blanks that its table of names has."""
    lines = ["Idx\tRatio\tTrain\tVal\tName", "1\t0.15\t11664\t1172\twall"]
    lines += ["2 \t0.10\t6046\t612\tbuilding, edifice", "3\t0.02\t1906\t199\tbed "]
    lines += [f"{k}\t0.001\t9\t9\tthing {k}, item" for k in range(4, 151)]
    (tmp_path / "objectInfo150.txt").write_text("\n".join(lines) + "\n")
    for split, short, count in (("training", "train", 9), ("validation", "val", 6)):
        for i in range(count):
            stem = f"ADE_{short}_{i + 1:08d}"
            _scene(
                tmp_path / "images" / split / f"{stem}.jpg",
                tmp_path / "annotations" / split / f"{stem}.png",
                1 + i % 3,
            )
    return tmp_path


@pytest.fixture
def voc(tmp_path):
    """VOC2012 inside VOCdevkit: palettes, and the border ignored."""
    root = tmp_path / "VOC2012"
    lists = root / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    for split, stems in (("train", range(6)), ("val", range(6, 10))):
        names = [f"2007_{i:06d}" for i in stems]
        (lists / f"{split}.txt").write_text("\n".join(names) + "\n")
        for i, name in zip(stems, names, strict=True):
            _scene(
                root / "JPEGImages" / f"{name}.jpg",
                root / "SegmentationClass" / f"{name}.png",
                (1, 8, 15)[i % 3],
                saved="P",
                ring=True,
            )
    _scene(root / "JPEGImages/unlisted.jpg", root / "SegmentationClass/unlisted.png", 3)
    return tmp_path


@pytest.fixture
def pairs(tmp_path):
    """images/ and masks/ with classes.txt: 10 pairs, half of the masks with a palette."""
    for i in range(10):
        image, mask = tmp_path / "images" / f"{i:02d}.png", tmp_path / "masks" / f"{i:02d}.png"
        _scene(image.with_suffix(".jpg"), mask, 1 + i % 3, saved="LP"[i % 2])
    (tmp_path / "classes.txt").write_text("background\nfish\ndog\nsaw\n")
    return tmp_path
