"""Forgetting: models of which it is known what they say, and the stage on a tiny one."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from steps import params
from steps.behaviour import forget
from steps.data import probes
from steps.data.speech import DRAWN, NUMBERS
from steps.data.sprites import SHAPES
from steps.models import load
from steps.stage import StageError

ROOT = Path(__file__).parents[2]
LABELS, COLORS = ["shape", "color", "count"], DRAWN.adjectives
WORDS = {"shape": SHAPES, "color": COLORS, "count": NUMBERS[1:4]}
TRAIN, TEST = 40, 480
SHARES = ("said", "probe", "lost", "gained", "gap", "none")


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """Probe images without content, and probes that are right about seven in ten of them."""
    folder, rng = tmp_path_factory.mktemp("forget"), np.random.default_rng(3)
    (folder / "probes").mkdir()
    (folder / "classify").mkdir()
    table = pd.DataFrame({"split": ["train"] * TRAIN + ["test"] * TEST, "novel": False})
    for label, words in WORDS.items():
        table[label] = np.arange(TRAIN + TEST) // (7 if label == "color" else 1) % len(words)
        table[label] = np.array(words)[table[label]]
    table.to_parquet(folder / "probes" / "classify.parquet", index=False)
    images = rng.integers(0, 256, (len(table), 64, 64, 3)).astype(np.uint8)
    np.save(folder / "probes" / "classify_images.npy", images)
    tiers = {"classify": {"asked": LABELS, "captions": ["ground"]}}
    (folder / "probes" / "probes.json").write_text(json.dumps(tiers))
    parts = []
    for label, words in WORDS.items():
        truth = table.loc[TRAIN:, label].to_numpy()
        told = np.where(rng.random(TEST) < 0.7, truth, rng.choice(np.array(words), TEST))
        ids = [f"classify-{i}" for i in range(TRAIN, TRAIN + TEST)]
        part = pd.DataFrame({"item": ids, "raw": told, "truth": truth})
        # What is told behind the projector is not the eye's.
        behind = part.assign(raw=words[0], instrument=f"proj/classify/{label}")
        parts += [behind, part.assign(instrument=f"classify/{label}")]
    shuffled = pd.concat(parts).sample(frac=1, random_state=0)
    shuffled.to_parquet(folder / "classify" / "items.parquet", index=False)
    return SimpleNamespace(folder=folder, table=table, right=_right(shuffled))


def _right(items):
    """The share of images that each probe is right about, counted apart."""
    eye = items[~items["instrument"].str.startswith("proj/")]
    hits = (eye["raw"] == eye["truth"]).groupby(eye["instrument"]).mean()
    return {label: hits[f"classify/{label}"] for label in LABELS}


def run(given, out, model=None, images=TEST):
    out.mkdir(exist_ok=True)
    section = SimpleNamespace(images=images, batch=32, max_tokens=3)
    who = SimpleNamespace(study="s", base="b", arm="a", seed=3)
    inputs = {"probes": given.folder / "probes", "classify": given.folder / "classify"}
    params = SimpleNamespace(forget=section, run=who)
    metrics = forget.run(params, inputs | {"model": model or given.folder}, out)
    items = pd.read_parquet(out / "items.parquet")
    check(metrics, items)
    assert forget.rescored(params, inputs, out, out) == metrics
    pd.testing.assert_frame_equal(pd.read_parquet(out / "items.parquet"), items)
    return metrics, items


def check(metrics, items):
    """What holds of every model: joint shares add up, and figures are those of the items."""
    for label in LABELS:
        of = {name: metrics[f"forget/{label}/{name}"] for name in SHARES}
        rows = items[items["instrument"] == f"forget_{label}"]
        both = (rows["lenient"] * rows["probe_right"]).mean()
        assert of["probe"] == pytest.approx(both + of["lost"])
        assert of["said"] == pytest.approx(both + of["gained"])
        assert of["gap"] == pytest.approx(of["probe"] - of["said"])
        assert rows["lenient"].tolist() == (rows["answer"] == rows["truth"]).tolist()
        assert of["none"] == pytest.approx(rows["answer"].isna().mean())
    for name in SHARES:
        mean = np.mean([metrics[f"forget/{label}/{name}"] for label in LABELS])
        assert metrics[f"forget/{name}"] == pytest.approx(mean)


@pytest.fixture
def says(given, monkeypatch):
    """`says(speak)`: models answer speak(label, truth) from now on, images aside.

    A count is told with the first colour, and none of the others.
    """
    monkeypatch.setattr(forget.load, "vlm", lambda _: SimpleNamespace(to=lambda _: None))
    monkeypatch.setattr(forget.load, "processor", lambda _: None)

    def answers(speak, model, processor, rows, pictures, batch, max_tokens):
        assert len(rows) == len(pictures)
        texts = []
        for row in rows.itertuples():
            rest = row.label == "count" and COLORS[0] not in row.prompt.split()
            texts.append("zero" if rest else speak(row.label, given.table.at[row.row, row.label]))
        return texts, np.full(len(texts), np.nan)

    return lambda speak: monkeypatch.setattr(forget.vqa, "ask", lambda *rest: answers(speak, *rest))


def test_one_that_always_says_the_truth_lost_nothing(given, says, tmp_path):
    says(lambda label, truth: truth)
    metrics, items = run(given, tmp_path)
    for label in LABELS:
        assert metrics[f"forget/{label}/said"] == 1
        assert metrics[f"forget/{label}/lost"] == metrics[f"forget/{label}/none"] == 0
        assert metrics[f"forget/{label}/probe"] == pytest.approx(given.right[label])
        assert metrics[f"forget/{label}/gap"] == pytest.approx(given.right[label] - 1)
    assert items["strict"].eq(1).all() and len(items) == TEST * len(LABELS)


def test_one_that_says_a_constant_is_right_about_that_class(given, says, tmp_path):
    says(lambda label, truth: WORDS[label][1])
    metrics, _ = run(given, tmp_path)
    test = given.table.iloc[TRAIN:]
    for label in LABELS:
        share = (test[label] == WORDS[label][1]).mean()
        assert metrics[f"forget/{label}/said"] == pytest.approx(share) and 0 < share < 0.5
        assert metrics[f"forget/{label}/probe"] == pytest.approx(given.right[label])


def test_one_whose_words_are_dealt_out_anew_falls_to_chance(given, says, tmp_path):
    """Its eye is what it was: the share that it can not say is all that its probe beats chance."""
    rng = np.random.default_rng(0)
    says(lambda label, truth: rng.choice(WORDS[label]))
    metrics, _ = run(given, tmp_path)
    for label in LABELS:
        chance = 1 / len(WORDS[label])
        assert metrics[f"forget/{label}/said"] == pytest.approx(chance, abs=0.07)
        assert metrics[f"forget/{label}/probe"] == pytest.approx(given.right[label])
        independent = given.right[label] * (1 - chance)
        assert metrics[f"forget/{label}/lost"] == pytest.approx(independent, abs=0.07)


def test_one_that_took_one_word_for_another_lost_that_class_alone(given, says, tmp_path):
    says(lambda label, truth: "blue" if truth == "red" else truth)
    metrics, items = run(given, tmp_path)
    wrong = items[items["lenient"] == 0]
    assert set(wrong["truth"]) == {"red"} and set(wrong["answer"]) == {"blue"}
    lost = wrong["probe_right"].sum() / TEST
    assert metrics["forget/color/lost"] == pytest.approx(lost) and lost > 0.05
    assert metrics["forget/shape/lost"] == metrics["forget/count/lost"] == 0


def test_answers_that_name_no_class_are_counted_apart(given, says, tmp_path):
    """Words of other labels, silence, and a number that is no class of these scenes."""
    other = {"shape": "red", "color": "", "count": "four"}
    says(lambda label, truth: other[label])
    metrics, items = run(given, tmp_path)
    for label in LABELS:
        assert metrics[f"forget/{label}/none"] == 1 and metrics[f"forget/{label}/said"] == 0
        assert metrics[f"forget/{label}/lost"] == metrics[f"forget/{label}/probe"]
    assert items["answer"].isna().all()


def test_long_answers_are_read_leniently(given, says, tmp_path):
    says(lambda label, truth: f"i see one . answer : {truth}")
    metrics, items = run(given, tmp_path)
    assert metrics["forget/said"] == 1 and items["strict"].eq(0).all()


def test_questions_about_one_image_stand_together(given):
    table = given.table.iloc[[3, 9]]
    asked = forget.questions(table, LABELS)
    assert asked["row"].tolist() == [3] * 8 + [9] * 8
    shape, color = table.loc[3, "shape"], table.loc[3, "color"]
    assert asked["prompt"].tolist()[:3] == [
        f"what shape is the large {color} object ? one word .",
        f"what color is the large {shape} ? one word .",
        f"how many {COLORS[0]} objects are there ? one word .",
    ]


def test_the_stage_on_a_tiny_model(given, asked, tmp_path):
    metrics, items = run(given, tmp_path, asked[0] / "model", images=20)
    contract = ["study", "base", "arm", "seed", "instrument", "item", "raw", "strict", "lenient"]
    assert list(items.columns[:9]) == contract
    assert set(items["instrument"]) == {f"forget_{label}" for label in LABELS}
    assert items.groupby("instrument")["item"].nunique().eq(20).all()
    ends = items["item"].iloc[0], items["item"].iloc[-1]
    assert ends == (f"classify-{TRAIN}", f"classify-{TRAIN + TEST - 1}")
    assert all(np.isfinite(value) for value in metrics.values())
    counts = items.loc[items["kind"] == "count", "raw"]
    assert counts.str.count("\n").eq(len(COLORS) - 1).all()


def test_probes_of_other_images_are_refused(given, tmp_path):
    table = given.table.iloc[TRAIN:]
    known = forget.probed(given.folder / "classify", table["shape"], "shape")
    assert len(known) == TEST
    others = table["shape"].iloc[::-1].set_axis(table.index)
    for truth in (others, given.table["shape"]):  # another set's; images that were trained on
        with pytest.raises(StageError, match="run the stage `classify` again"):
            forget.probed(given.folder / "classify", truth, "shape")


@pytest.mark.slow
def test_a_base_gone_blind_says_nothing_of_what_a_whole_eye_knows(tmp_path, monkeypatch):
    """Calibration on a model that answers well, whose eye is taken to know everything."""
    study = params.load(ROOT / "params.yaml")
    few = {"classify_train": 40, "classify_test": 120, "photos": "off"}
    section = study.probes.model_copy(update=few)
    (tmp_path / "probes").mkdir()
    who = SimpleNamespace(seed=0)
    drawn = SimpleNamespace(source="world")
    told = SimpleNamespace(probes=section, world=study.world, data=drawn, run=who)
    probes.run(told, {}, tmp_path / "probes")
    table = pd.read_parquet(tmp_path / "probes" / "classify.parquet")
    rows = [
        {"instrument": f"classify/{label}", "item": f"classify-{i}", "raw": value, "truth": value}
        for label in LABELS
        for i, value in table[label].items()
    ]
    (tmp_path / "classify").mkdir()
    pd.DataFrame(rows).to_parquet(tmp_path / "classify" / "items.parquet")
    bundled = ROOT / "models" / "bundled" / "instruct"
    given = SimpleNamespace(folder=tmp_path)
    seeing, _ = run(given, tmp_path / "seeing", bundled, 120)
    model = load.vlm(bundled)
    model.model.vision_tower.get_input_embeddings().weight.data.zero_()
    monkeypatch.setattr(forget.load, "vlm", lambda _: model)
    blind, _ = run(given, tmp_path / "blind", bundled, 120)
    # It follows the questions; asked for the number of all objects at once, 0.17 are right.
    for label, least in {"shape": 0.5, "color": 0.8, "count": 0.35}.items():
        assert seeing[f"forget/{label}/said"] > least
        assert seeing[f"forget/{label}/none"] < 0.2
        common = table.loc[table["split"] == "test", label].value_counts(normalize=True).max()
        assert blind[f"forget/{label}/said"] < common + 0.1
        assert blind[f"forget/{label}/probe"] == 1
        assert blind[f"forget/{label}/lost"] == blind[f"forget/{label}/gap"]
    assert blind["forget/gap"] > seeing["forget/gap"] + 0.3
