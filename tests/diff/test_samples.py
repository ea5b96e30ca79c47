import json

import numpy as np
import pandas as pd
import pytest
from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from steps.data.language import told
from steps.diff import activations, samples
from steps.diff.activations import TYPES
from steps.models import load
from steps.stage import StageError


def encoded(base, items, image, count=20):
    processor = load.processor(base / "instruct")
    rows = samples.draw(items, 0)[:count]
    return processor, rows, samples.encode(processor, rows, image)


def by_type(processor, sample):
    words = processor.tokenizer.convert_ids_to_tokens(sample.ids.tolist())
    pairs = list(zip(words, sample.types, strict=True))
    return {name: [w for w, t in pairs if t == code] for code, name in enumerate(TYPES)}


def test_types_follow_the_words(base, items):
    processor, rows, made = encoded(base, items, image=True)
    for (row, _, _), sample in zip(rows, made, strict=True):
        assert by_type(processor, sample) == {
            "image": ["<image>"] * 16,
            "question": ["user", ":", *row.prompt.split(), "assistant", ":"],
            "answer": [*row.response.split(), "<eos>"],
            "told": [],
        }


def test_without_the_image_the_scene_is_told_in_words(base, items):
    processor, rows, image = encoded(base, items, image=True)
    _, _, text = encoded(base, items, image=False)
    for (row, _, _), one, other in zip(rows, image, text, strict=True):
        seen, read = by_type(processor, one), by_type(processor, other)
        scene = told(json.loads(row.truth)["things"])
        assert read["told"] == scene.split() and read["image"] == []
        assert read["question"] == seen["question"] and read["answer"] == seen["answer"]
        whole = f"user : {scene} {row.prompt} assistant : {row.response} <eos>"
        assert processor.tokenizer.convert_ids_to_tokens(other.ids.tolist()) == whole.split()
    assert len({len(s.ids) for s in text}) > 3


def test_subwords_and_other_templates_find_the_scene(base, items):
    """Letters as tokens, a system prompt, spaces that a template puts elsewhere."""
    processor = load.processor(base / "instruct")
    letters = {c: i for i, c in enumerate(map(chr, range(32, 127)))} | {"<image>": 200, "\n": 201}
    made = Tokenizer(models.WordLevel({**letters, "?!": 202}, unk_token="?!"))
    made.pre_tokenizer = pre_tokenizers.Split(Regex("<image>|.|\n"), "isolated")
    processor.tokenizer = PreTrainedTokenizerFast(tokenizer_object=made)
    processor.image_token, processor.image_token_id = "<image>", 200
    processor.chat_template = (
        "[be brief]\n{% for m in messages %}<{{ m['role'] }}>\n{% for c in m['content'] %}"
        "{% if c['type'] == 'image' %}<image>\n{% else %}{{ c['text'] }}{% endif %}{% endfor %}"
        "[end]{% endfor %}{% if add_generation_prompt %}<assistant>\n{% endif %}"
    )
    rows = samples.draw(items, 0)[:9]
    for sample, (row, _, _) in zip(samples.encode(processor, rows, False), rows, strict=True):
        found = {name: "".join(some) for name, some in by_type(processor, sample).items()}
        scene = told(json.loads(row.truth)["things"])
        assert found["told"] == scene
        assert found["question"] == f"[be brief]\n<user>\n {row.prompt}[end]<assistant>\n"
        assert found["answer"] == f"{row.response}[end]"


def test_what_all_samples_begin_with_is_left_out_up_to_the_image(base, items):
    for image, shared in ((True, ["user", ":"]), (False, "user : scene : a".split())):
        processor, _, made = encoded(base, items, image)
        assert min(made[0].types) >= 0
        ids = samples.leave_out_shared(made)
        assert processor.tokenizer.convert_ids_to_tokens(ids) == shared
        for sample in made:
            assert set(sample.types[: len(ids)]) == {-1}
            assert min(sample.types[len(ids) :]) >= 0


def test_samples_that_are_all_alike_keep_a_token(base, items):
    processor, rows, _ = encoded(base, items, image=False)
    made = samples.encode(processor, [rows[0], rows[0]], image=False)
    samples.leave_out_shared(made)
    assert [s.types[-2:].tolist() for s in made] == [[-1, 2]] * 2


def test_a_scene_is_in_one_split_and_seeds_differ(items):
    rows = samples.draw(items, 0)
    assert len(rows) == 60 and len({row.item for row, *_ in rows}) == 60
    assert all(row.item.startswith("train") for row, *_ in rows)  # stage1 tells no scene
    splits = {(row.scene, split) for row, _, split in rows}
    assert len(splits) == 30  # each scene is in one
    assert [split for _, split in splits].count("eval") == 6  # every fifth
    assert [r.item for r, *_ in rows] == [r.item for r, *_ in samples.draw(items, 0)]
    assert [r.item for r, *_ in rows] != [r.item for r, *_ in samples.draw(items, 1)]


def test_items_that_tell_no_scene_are_named(items, tmp_path):
    for name in ("train.parquet", "train_images.npy"):
        (tmp_path / name).write_bytes((items / name.replace("train", "stage1")).read_bytes())
    with pytest.raises(StageError, match="train.parquet has no column `truth`.*items anew"):
        samples.draw(tmp_path, 0)


def test_the_budget_is_kept(base, items):
    processor, rows, made = encoded(base, items, image=True, count=60)
    lengths = [len(s.ids) for s in made]
    taken = samples.take(processor, rows, sum(lengths[:10]) + lengths[10] - 1)
    assert [s.item for s in taken] == [s.item for s in made[:10]]
    assert len(samples.take(processor, rows, 1)) == 1
    assert len(samples.take(processor, rows, 10**9)) == 60


def test_the_table_has_a_row_for_each_token_kept(base, items):
    _, _, made = encoded(base, items, image=False, count=3)
    made[1].types[:4] = -1
    table = samples.table(made)
    rows = [
        (number, s.item, s.split, place, token, TYPES[kind])
        for number, s in enumerate(made)
        for place, (token, kind) in enumerate(zip(s.ids, s.types, strict=True))
        if kind >= 0
    ]
    columns = ["sample", "item", "split", "position", "token", "type"]
    expected = pd.DataFrame(rows, columns=columns)
    assert list(table.columns) == columns and len(table) < sum(len(s.ids) for s in made)
    assert (table.astype(object) == expected.astype(object)).all(axis=None)
    assert list(table["type"].cat.categories) == list(TYPES)


@pytest.mark.parametrize("cell", ["D", "S"])
def test_a_harvests_samples_come_back_as_they_were_read(harvested, base, items, cell):
    processor, rows, _ = encoded(base, items, image=True)
    back = samples.again(harvested[0], items, cell)
    made = samples.encode(processor, samples.draw(items, 0)[: len(back)], image=cell == "D")
    samples.leave_out_shared(made)
    assert len(back) > 20
    for one, other in zip(back, made, strict=True):
        assert (one.item, one.row, one.split) == (other.item, other.row, other.split)
        assert np.array_equal(one.ids, other.ids) and np.array_equal(one.types, other.types)
        assert np.array_equal(one.images[one.row], other.images[other.row])
    assert len(activations.index(harvested[0], cell)) == sum((s.types >= 0).sum() for s in back)


def test_other_items_than_the_harvests_are_refused(harvested, items, tmp_path):
    table = pd.read_parquet(items / "train.parquet")
    table[::-1].to_parquet(tmp_path / "train.parquet")
    with pytest.raises(StageError, match="was not harvested from"):
        samples.again(harvested[0], tmp_path, "D")
