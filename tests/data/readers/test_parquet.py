"""Hugging Face's Parquet files: labels, names, and that no more is held than is asked for."""

import json
from collections import Counter

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from steps.data.readers import parquet as reader
from steps.data.readers.draw import draw
from steps.data.readers.parquet import parquet
from steps.data.readers.pictures import Broken
from steps.stage import Missing, StageError

NAMES = {"tench": "n01440764", "English springer": "n02102040", "chain saw": "n03000684"}


def test_labels_are_named_by_the_metadata_and_the_colours_bear_them_out(hub, colour_class):
    listing = parquet(hub)
    assert listing.classes == tuple(sorted(NAMES)) and listing.absent == ()
    assert {part: len(items) for part, items in listing.items.items()} == {"train": 24, "test": 9}
    drawn = draw(listing, {"train": 5, "test": 2}, size=16, broken_share=0)
    assert drawn.images.shape == (21, 16, 16, 3)
    assert [colour_class(image) for image in drawn.images] == [NAMES[n] for n in drawn.table.label]
    assert drawn.table.groupby("split").size().to_dict() == {"train": 15, "test": 6}
    for item, part in zip(drawn.table["item"], drawn.table["split"], strict=True):
        assert item.startswith({"train": "data/train-", "test": "data/validation-"}[part])


def test_datasets_own_writer_is_understood(tmp_path, colour_class):
    from datasets import ClassLabel, Dataset, Features, Image
    from PIL import Image as Pillow

    colours = [(200, 40, 40), (40, 200, 40)]
    features = Features({"image": Image(), "label": ClassLabel(names=["fish", "dog"])})
    for split, n in (("train", 6), ("validation", 4)):
        rows = [Pillow.new("RGB", (20, 20), colours[i % 2]) for i in range(n)]
        data = Dataset.from_dict({"image": rows, "label": [i % 2 for i in range(n)]}, features)
        data.to_parquet(tmp_path / f"{split}-00000-of-00001.parquet")
    drawn = draw(parquet(tmp_path), {"train": 3, "test": 2}, size=8)
    expected = {"fish": "n01440764", "dog": "n02102040"}
    assert [expected[n] for n in drawn.table.label] == [colour_class(i) for i in drawn.images]


def test_images_are_read_by_row_group_each_once_in_small_batches(hub, monkeypatch):
    calls, held = [], []
    true = reader._bytes

    def counted(file, group, column, rows):
        calls.append((file.metadata.row_group(group).num_rows, group, len(rows)))
        iterate = file.iter_batches

        class Seen:
            def iter_batches(self, *args, **kwargs):
                assert kwargs["columns"] == ["image.bytes"]
                for part in iterate(*args, **kwargs):
                    held.append(len(part))
                    yield part

        return true(Seen(), group, column, rows)

    monkeypatch.setattr(reader, "_bytes", counted)
    monkeypatch.setattr(reader, "BATCH", 2)
    listing = parquet(hub)
    assert not calls  # a listing reads no image
    draw(listing, {"train": 8, "test": 3}, size=8)
    assert Counter((n, group) for n, group, _ in calls) == {
        (5, 0): 3,
        (5, 1): 2,
        (2, 2): 2,
        (4, 1): 1,
    }
    assert max(held) == 2 and sum(n for *_, n in calls) == 33

    calls.clear(), held.clear()
    first = [i for i in listing.items["train"] if i.group == 0 and i.row == 0][:1]
    assert len(list(listing.open(first, 8, "crop"))) == 1
    assert len(calls) == 1 and held == [2]  # and stops behind the last row that is wanted


def test_memory_stays_below_a_row_group(tmp_path, rows):
    big = [bytes(2**20)] * 32  # no images, but a mebibyte each
    for split in ("train", "validation"):
        table = rows(big, [i % 3 for i in range(32)])
        pq.write_table(table, tmp_path / f"{split}-0.parquet", row_group_size=32,
                       compression="none", use_dictionary=False)  # fmt: skip
    listing = parquet(tmp_path)
    pool = pa.system_memory_pool()
    before = pa.default_memory_pool()
    pa.set_memory_pool(pool)
    try:
        most = 0
        file = pq.ParquetFile(tmp_path / "train-0.parquet", buffer_size=2**20, pre_buffer=False)
        reader_batch, reader.BATCH = reader.BATCH, 2
        for _ in reader._bytes(file, 0, "image", set(range(32))):
            most = max(most, pool.bytes_allocated())
    finally:
        reader.BATCH = reader_batch
        pa.set_memory_pool(before)
    assert 0 < most < 16 * 2**20
    assert len(listing.items["train"]) == 32


def test_without_names_the_number_is_the_class(hub, rows):
    for path in (hub / "data").iterdir():
        table = pq.read_table(path)
        pq.write_table(table.replace_schema_metadata(None), path)
    assert parquet(hub).classes == ("0", "1", "2")
    table = table.replace_schema_metadata({"huggingface": "{not json"})
    pq.write_table(table, path)
    assert "0" in parquet(hub).classes


def test_two_classes_of_one_name_stay_two(hub, rows):
    for path in (hub / "data").iterdir():
        features = {"label": {"names": ["crane", "dog", "crane"], "_type": "ClassLabel"}}
        told = {"huggingface": json.dumps({"info": {"features": features}})}
        pq.write_table(pq.read_table(path).replace_schema_metadata(told), path)
    assert parquet(hub).classes == ("crane (0)", "crane (2)", "dog")


def test_broken_rows_are_listed_and_replaced_by_their_class(hub, rows):
    path = hub / "data" / "train-00000-of-00002.parquet"
    table = pq.read_table(path).to_pylist()
    data, labels = [r["image"]["bytes"] for r in table], [r["label"] for r in table]
    data[0], data[4], data[8] = None, b"", data[8][:-100]
    pq.write_table(rows(data, labels), path, row_group_size=5)
    drawn = draw(parquet(hub), {"train": 8, "test": 3}, size=8, broken_share=0.2)
    where = "data/train-00000-of-00002.parquet"
    assert {b.path: b.reason for b in drawn.broken} == {
        f"{where}:0:0": "missing: the table holds no bytes for it",
        f"{where}:0:4": "empty (0 bytes)",
        f"{where}:1:3": "truncated",
    }
    assert drawn.short == {"train/chain saw": 7, "train/tench": 7, "train/English springer": 7}


def test_files_that_are_spoken_of_and_not_there_are_listed(hub):
    (hub / "data" / "train-00000-of-00002.parquet").unlink()
    assert parquet(hub).absent == (Broken("data/train-00000-of-00002.parquet", "missing"),)


@pytest.mark.parametrize("content", [b"", b"no table at all", "half"])
def test_a_damaged_file_is_named(hub, content):
    path = hub / "data" / "train-00001-of-00002.parquet"
    path.write_bytes(path.read_bytes()[:500] if content == "half" else content)
    with pytest.raises(StageError, match="train-00001-of-00002.parquet cannot be read as Parquet"):
        parquet(hub)


def test_a_row_group_damaged_inside_is_listed_row_by_row(hub):
    listing = parquet(hub)
    path = hub / "data" / "train-00000-of-00002.parquet"
    column = pq.ParquetFile(path).metadata.row_group(1).column(0)
    start, size = column.data_page_offset, column.total_compressed_size
    start = min(start, column.dictionary_page_offset or start)
    data = bytearray(path.read_bytes())
    data[start : start + size] = b"\xff" * size
    path.write_bytes(data)
    drawn = draw(listing, {"train": 5, "test": 2}, size=8, broken_share=0.3)
    assert drawn.broken and {b.reason for b in drawn.broken} == {"its row group cannot be read"}
    assert all(":1:" in b.path for b in drawn.broken)
    assert drawn.table.groupby(["split", "label"]).size().tolist() == [2] * 3 + [5] * 3


def test_what_has_no_labels_or_other_columns_is_refused(hub, rows):
    path = hub / "data" / "validation-00000-of-00001.parquet"
    pq.write_table(rows([b"x"] * 3, [-1, -1, -1]), path)
    with pytest.raises(StageError, match="row 0 of row group 0: the label is -1"):
        parquet(hub)
    pq.write_table(rows([b"x"] * 3, [0, 1, 7]), path)
    with pytest.raises(StageError, match="the label is 7, and 3 classes are named"):
        parquet(hub)
    with pytest.raises(StageError, match=r"columns \['image', 'label'\]: 'img'"):
        parquet(hub, image="img")
    with pytest.raises(StageError, match="column 'label' is int64, not a struct with bytes"):
        parquet(hub, image="label")
    pq.write_table(rows([b"x"] * 2, [0, 1]), path)
    with pytest.raises(StageError, match=r"differ \(only in train \['chain saw'\]\)"):
        parquet(hub)
    path.unlink()
    with pytest.raises(Missing, match=r"needs train-\*\.parquet and one of val"):
        parquet(hub)
