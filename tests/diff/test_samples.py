import pandas as pd

from steps.diff import samples
from steps.models import load


def encoded(base, items, image, count=20):
    processor = load.processor(base / "instruct")
    rows = samples.draw(items, 0)[:count]
    return processor, rows, samples.encode(processor, rows, image)


def test_types_follow_the_words(base, items):
    processor, rows, made = encoded(base, items, image=True)
    for (row, _, _), sample in zip(rows, made, strict=True):
        words = processor.tokenizer.convert_ids_to_tokens(sample.ids)
        by_type = [
            [w for w, t in zip(words, sample.types, strict=True) if t == i] for i in range(3)
        ]
        assert by_type[0] == ["<image>"] * 16
        assert by_type[1] == ["user", ":", *row.prompt.split(), "assistant", ":"]
        assert by_type[2] == [*row.response.split(), "<eos>"]


def test_without_the_image_the_same_words_are_left(base, items):
    _, _, image = encoded(base, items, image=True)
    _, _, text = encoded(base, items, image=False)
    for one, other in zip(image, text, strict=True):
        kept = [(i, t) for i, t in zip(one.ids, one.types, strict=True) if t != 0]
        assert kept == list(zip(other.ids, other.types, strict=True))


def test_what_all_samples_begin_with_is_left_out_up_to_the_image(base, items):
    for image in (True, False):
        _, _, made = encoded(base, items, image)
        assert made[0].types[:2] == [1, 1]
        samples.leave_out_shared(made)
        for sample in made:
            assert sample.types[:2] == [-1, -1]  # user :
            assert min(sample.types[2:]) >= 0


def test_a_scene_is_in_one_split_and_seeds_differ(items):
    rows = samples.draw(items, 0)
    assert len(rows) == 60 and len({row.item for row, *_ in rows}) == 60
    table = pd.DataFrame(
        {
            "scene": [f"{r.item.split('-')[0]}{r.scene}" for r, *_ in rows],
            "s": [s for *_, s in rows],
        }
    )
    assert (table.groupby("scene")["s"].nunique() == 1).all()
    assert (table.groupby("scene")["s"].first() == "eval").sum() == 6  # every fifth of 30
    assert [r.item for r, *_ in rows] == [r.item for r, *_ in samples.draw(items, 0)]
    assert [r.item for r, *_ in rows] != [r.item for r, *_ in samples.draw(items, 1)]


def test_the_budget_is_kept(base, items):
    processor, rows, made = encoded(base, items, image=True, count=60)
    lengths = [len(s.ids) for s in made]
    taken = samples.take(processor, rows, sum(lengths[:10]) + lengths[10] - 1)
    assert [s.item for s in taken] == [s.item for s in made[:10]]
    assert len(samples.take(processor, rows, 1)) == 1
    assert len(samples.take(processor, rows, 10**9)) == 60
