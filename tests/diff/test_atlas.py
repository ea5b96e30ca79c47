"""The atlas as a page: what is planted is found where it was planted, figures are the inputs'."""

import base64
import io
import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from steps.data import items as questions
from steps.data.paint import render
from steps.diff import atlas, reading
from steps.diff.leaves import inline
from steps.stage import StageError

SITE, N, SIDE = "residual.0", 32, 8


class Planted:
    """A dictionary in the interface of steps.diff.dictionary.

    Feature 0 fires on the tokens `on` [n, d] and on no other; the rest are relu(x W_enc + b_enc).
    """

    def __init__(self, on):
        enc = torch.randn(on.shape[1], 12, generator=torch.Generator().manual_seed(0))
        b_enc = torch.zeros(12)
        b_enc[11] = -1e9  # never fires
        self.on = on
        self.weights = {"W_enc": enc, "b_enc": b_enc, "W_dec": enc.T.contiguous()}

    def to(self, device):
        return self

    def codes(self, x):
        found = (x @ self.weights["W_enc"] + self.weights["b_enc"]).relu()
        found[:, 0] = (1 - 1e3 * torch.cdist(x, self.on).amin(1)).relu()
        return found


@pytest.fixture(scope="module")
def study(vlm, world, tmp_path_factory):
    """Inputs of a study whose feature 0 fires on the one bright patch of each picture."""
    model, processor = vlm
    root = tmp_path_factory.mktemp("study")
    model.save_pretrained(root / "base/instruct")
    processor.save_pretrained(root / "base/instruct")
    (root / "items").mkdir()
    rows, scenes = questions.draw(world, np.random.default_rng(0), N, "test", False, 0.3)
    table = pd.DataFrame(rows)
    table.insert(0, "item", [f"<b>{i}</b>" for i in range(N)])
    table.loc[0, "value"] = "<script>"
    table.to_parquet(root / "items/vqa.parquet", index=False)
    bright = np.random.default_rng(1).permutation(SIDE * SIDE)[:N]
    images = np.zeros_like(render(world, scenes)[0])
    for image, patch in zip(images, bright, strict=True):
        row, column = divmod(int(patch), SIDE)
        image[8 * row : 8 * row + 8, 8 * column : 8 * column + 8] = 255
    np.save(root / "items/vqa_images.npy", images)
    said = list(table["response"])
    some = reading.asked(processor, SIDE * SIDE, list(table["prompt"]), said, images=images)
    x = torch.cat([r.seen[SITE] for r in reading.read(model, processor, some, [SITE])])
    patches = x[some.types == reading.IMAGE].view(N, SIDE * SIDE, -1)
    on = patches[torch.arange(N), torch.as_tensor(bright)]
    (root / "dictionary" / SITE / "MF").mkdir(parents=True)
    _tables(root)
    return SimpleNamespace(root=root, bright=bright, found=Planted(on), some=some, x=x, table=table)


def _tables(root):
    rng = np.random.default_rng(2)
    features = pd.DataFrame({"site": SITE, "feature": np.arange(12)})
    features["alive_MF"] = True
    for order in "xy":
        features[f"null_{order}"] = rng.uniform(0.9, 1, 12)
        features[f"cosine_{order}"] = rng.uniform(0.5, 1, 12)
        features[f"quantile_{order}"] = rng.uniform(0, 1, 12)
        features[f"excess_{order}"] = rng.uniform(-10, 40, 12)
        features[f"settled_{order}"] = True
        features[f"beyond_{order}"] = features["feature"].isin([3, 5])
        features[f"class_{order}"] = "keep"
    features["corner"] = features["beyond_x"]
    features["visual"] = rng.uniform(0, 1, 12)
    for kind in ("image", "question", "answer"):
        features[f"rate_MF_{kind}"] = rng.uniform(0, 1, 12)
    spatial = pd.DataFrame(
        {"site": SITE, "feature": [0, 0, 1], "relation": ["left", "above", "a<b"]}
    )
    spatial["auroc_select"], spatial["auroc"] = [0.9, 0.6, 0.7], [0.8125, 0.55, 0.6]
    spatial["selected"] = [True, False, True]
    heads = pd.DataFrame({"site": SITE, "feature": 0, "layer": [0, 0], "head": [0, 1]})
    heads["attribution"], heads["exact"] = [0.5, -0.25], [0.4, -0.75]
    heads = pd.concat([heads.assign(relation="left"), heads.assign(relation="above")])
    heads.loc[(heads["relation"] == "above") & (heads["head"] == 1), "exact"] = np.nan
    for name, table in (("features", features), ("spatial", spatial), ("heads", heads)):
        folder = root / {"features": "compare"}.get(name, name)
        folder.mkdir()
        table.to_parquet(folder / f"{name}.parquet", index=False)


@pytest.fixture
def run(study, tmp_path, monkeypatch):
    """Runs the stage on the study without the inputs named; gives page, folder and metrics."""
    monkeypatch.setattr(atlas.saved, "load", lambda folder: study.found)

    def go(*without, out="out", features=8, **changed):
        params = SimpleNamespace(
            atlas=SimpleNamespace(features=features, scenes=4, items=N),
            run=SimpleNamespace(seed=0, base="b"),
        )
        names = ("base", "items", "dictionary", "compare", "spatial", "heads")
        inputs = {name: study.root / name for name in names if name not in without} | changed
        (tmp_path / out).mkdir()
        metrics = atlas.run(params, inputs, tmp_path / out)
        return (tmp_path / out / "index.html").read_text(), tmp_path / out, metrics

    return go


def card(page, feature):
    """The part of a page about one feature."""
    return page.split(f'id="{SITE}-{feature}"')[1].split("</article>")[0]


def decoded(uri):
    return np.array(Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))))


def test_the_heat_map_is_hot_where_the_feature_fires(run, study):
    page, out, _ = run()
    part = card(page, 0)
    shown = re.findall(r'class="pic heat p(\d+)"[^>]*><div></div><img alt="" src="([^"]+)">', part)
    assert len(shown) == 4
    boxes = re.findall(r'class="box" style="left:([\d.]+)%;top:([\d.]+)%', part)
    for (row, uri), (left, top) in zip(shown, boxes, strict=True):
        heat = decoded(uri)
        assert heat.shape == (SIDE, SIDE, 4)
        hot = np.argwhere(heat[..., 3] > 0)
        place = divmod(int(study.bright[int(row)]), SIDE)
        assert hot.tolist() == [list(place)]  # row first, column second, and no other patch
        assert (float(top), float(left)) == tuple(100 * p / SIDE for p in place)
    facts = pd.read_parquet(out / "top.parquet")
    facts = facts[(facts["feature"] == 0) & (facts["type"] == "image")]
    rows = facts["item"].str.extract(r"<b>(\d+)</b>")[0].astype(int)
    assert facts["place"].tolist() == study.bright[rows].tolist()


def test_pictures_are_the_items(run, study):
    page, _, _ = run()
    images = np.load(study.root / "items/vqa_images.npy")
    for row, uri in re.findall(r"\.p(\d+)\{--p:url\(([^)]+)\)\}", page):
        assert np.array_equal(decoded(uri), images[int(row)])


def test_words_are_coloured_by_their_activation(run, study):
    """Read off the page, and computed here from the model's activations without the stage."""
    page, _, _ = run()
    part = card(page, 1)
    values = study.found.codes(study.x.flatten(0, 1)).view(*study.x.shape[:2], 12)[..., 1].numpy()
    scenes = [int(row) for row in re.findall(r'class="pic p(\d+)"', part)]
    top = values[scenes][(study.some.types[scenes] >= 0).numpy()].max()
    peaks = []
    for block, row in zip(part.split('class="say"')[1:], scenes, strict=True):
        found = re.findall(r'<span class="q(\d)( peak)?" title="([\d.]+)">([^<]+)</span>', block)
        words = (study.some.types[row] >= reading.QUESTION).numpy()
        fired = values[row][words & (values[row] > 0)]
        assert [float(v) for _, _, v, _ in found] == pytest.approx(fired.tolist(), abs=6e-4)
        for step, _, value, _ in found:
            assert int(step) == pytest.approx(np.ceil(9 * float(value) / top), abs=1e-3) or (
                abs(9 * float(value) / top % 1) < 0.01
            )
        asks = np.isin(study.some.types[row].numpy(), (reading.IMAGE, reading.QUESTION))
        peaks.append(values[row][asks].max())
    order = np.where(np.isin(study.some.types.numpy(), (0, 1)), values, 0).max(1)
    assert peaks == pytest.approx(sorted(order, reverse=True)[:4])


def test_figures_of_the_list_are_those_of_the_inputs(run, study):
    page, _, metrics = run()
    features = pd.read_parquet(study.root / "compare/features.parquet").set_index("feature")
    lines = re.findall(r"<tr><td class=\"t\">residual.0.*?</tr>", page)
    assert len(lines) == 8 == metrics["atlas/features"]
    names = "rate_MF_image rate_MF_question rate_MF_answer visual".split()
    names += [f"{name}_{order}" for order in "xy" for name in ("cosine", "quantile")]
    for line in lines:
        figures = [float(v) for v in re.findall(r'data-v="([^"]+)"', line)]
        row = features.loc[int(figures[0])]
        assert [*figures[1:5], *figures[6:]] == pytest.approx([row[n] for n in names], rel=1e-6)
        assert (">corner<" in line) == (figures[0] in (3, 5))
    part = card(page, 0)
    assert "0.81" in part and "0.55" in part  # spatial's report half
    # exact effects where all heads have them, else attributions
    assert "Exact patching on “left”: L0 H1 −0.750" in part
    assert "Attribution on “above”: L0 H0 +0.500" in part and "head 1: -0.25" in part


def test_nothing_is_fetched_and_all_text_is_escaped(run):
    page, _, _ = run()
    assert "<b>0</b>" not in page and "<script>," not in page and "a<b" not in page
    assert page.count("<script>") == 1 and "a&lt;b" in page
    assert set(re.findall(r'(?:src|href)="(#|data:|[^"]{6})', page)) == {"#", "data:"}
    assert "http:" not in page and "https:" not in page and "@import" not in page
    assert set(re.findall(r"url\((.{5})", page)) == {"data:"}


def test_what_is_absent_is_said_to_be(run, study, tmp_path):
    page, _, metrics = run("spatial", "heads")
    assert "no stage <code>spatial</code>" in page and "no stage <code>heads</code>" in page
    assert metrics["atlas/shown/spatial"] == 0 and "none as spatial" in page
    (tmp_path / "bare").mkdir()
    features = pd.DataFrame({"site": SITE, "feature": np.arange(12)})
    features.to_parquet(tmp_path / "bare/features.parquet")
    page, _, metrics = run("spatial", "heads", out="bare_out", compare=tmp_path / "bare")
    assert "not measured, or refused" in page and metrics["atlas/shown/foil"] > 0


def test_a_feature_that_never_fires_says_so(run):
    page, _, metrics = run(features=12)
    assert metrics["atlas/silent"] == 1
    assert "fires on no image and no question" in card(page, 11)


def test_same_input_same_bytes(run):
    (one, a, _), (other, b, _) = run(), run(out="again")
    assert one == other
    assert (a / "top.parquet").read_bytes() == (b / "top.parquet").read_bytes()


def test_no_dictionary_is_one_sentence(run, tmp_path):
    with pytest.raises(StageError, match="no site has a living feature and a dictionary MF"):
        run(dictionary=tmp_path / "none")


def test_levels_share_one_scale():
    assert inline.level(np.array([0, 1e-9, 1, 4.5, 9]), 9).tolist() == [0, 1, 1, 5, 9]
    lightness = [np.dot(list(bytes.fromhex(c)), [0.2126, 0.7152, 0.0722]) for c in inline.RAMP]
    assert lightness == sorted(lightness, reverse=True)


def test_a_tick_stands_at_its_angle():
    null = pd.Series(np.cos(np.radians([5, 5, 5, 10])))
    svg = inline.histogram(null, np.cos(np.radians(30)), np.cos(np.radians(5)), "t")
    own = float(re.search(r'M([\d.]+) 4V\d+" class="own"', svg)[1])
    drift = float(re.search(r'cx="([\d.]+)"', svg)[1])
    assert own == pytest.approx(10 + 280 * 30 / 30, abs=0.1)
    assert drift == pytest.approx(10 + 280 * 5 / 30, abs=0.1)
