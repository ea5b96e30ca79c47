"""Each head's looking: against eager attention matrices, by hand, and a planted visual head."""

import numpy as np
import pandas as pd
import pytest
import torch

from steps.behaviour import heads
from steps.behaviour.frozen import asked
from steps.models import load
from steps.models.connectivity import reading, watched
from steps.models.look import overlap
from steps.models.sample import prompts

IMAGE = slice(2, 66)
"""Where the image stands: behind `user :`."""


@pytest.fixture(scope="module")
def patches(read):
    return np.stack([overlap(boxes, 8, 64) for boxes in read.table["boxes"]])


@pytest.fixture(scope="module")
def gaze(read, batch, patches):
    gaze = heads.Gaze(batch, patches, [1])
    with reading(read.model, [0, 1], gaze):
        batch.chances()
    return gaze


def eager(read, i):
    """Attention of one answer alone [layers, heads, L, L] by plain matrices, and its ids."""
    row = read.table.iloc[i]
    told = prompts(read.processor, 64, [row["prompt"]], [row["response"]])
    read.model.set_attn_implementation("eager")
    with torch.no_grad():
        paid = read.model(
            **told, pixel_values=load.pixels(read.pictures[[i]]), output_attentions=True
        ).attentions
    read.model.set_attn_implementation("sdpa")
    return torch.stack(paid)[:, 0].double().numpy()


def test_totals_are_those_of_eager_attention(read, gaze, patches):
    found, hits = gaze.totals(), 0
    for i, row in enumerate(read.table.itertuples()):
        paid, words = eager(read, i), row.response.split()
        end = paid.shape[-1]
        asks = slice(66, 66 + len(row.prompt.split()))
        ties = [end - len(words) - 1 + t for t, d in enumerate(row.depends) if d]
        image = paid[..., IMAGE]
        expected = {
            "image": image[:, :, asks].sum(-1).mean(-1),
            "before": paid[:, :, asks, :2].sum(-1).mean(-1),
            "looked": image[:, :, ties].sum((2, 3)),
            "inside": (image[:, :, ties] * patches[i]).sum((2, 3)),
        }
        inside = {2 + p for p in np.flatnonzero(patches[i])}
        first = paid[:, :, ties].argmax(-1)
        expected["hits"] = np.isin(first, [*inside]).sum(-1) / max(1, len(inside))
        for name, values in expected.items():
            np.testing.assert_allclose(found[name][i], values, atol=1e-5, err_msg=name)
        hits += expected["hits"].sum()
    assert hits > 0


def test_attention_paid_is_the_mean_over_heads_of_the_layers_named(read, batch, gaze):
    for i, row in enumerate(read.table.itertuples()):
        rows = len(row.response.split()) + 1
        whole = eager(read, i)[1, :, -rows:, IMAGE].mean(0)
        np.testing.assert_allclose(gaze.paid()[i, -rows:], whole, atol=1e-5)


def test_enrichment_is_that_of_training(read, batch, gaze):
    told, _, _ = asked(read.processor, 64, read.table)
    answer, see = batch.real.shape[1], load.reader(read.processor.image_processor)
    with torch.no_grad():
        with watched(
            read.model, told["input_ids"], told["attention_mask"], answer, [1]
        ) as connected:
            read.model(**told, pixel_values=see(read.pictures))
    other = connected.connectivity().enrichment
    torch.testing.assert_close(gaze.enrichment()[batch.real], other[batch.real])


def test_a_planted_head_is_found(batch, patches):
    """Queries of one head in one layer fit the keys in the box; all others look evenly."""
    gaze, (n, behind) = heads.Gaze(batch, patches, [0]), batch.user.shape
    key = torch.zeros(n, 2, batch.known + behind, 4)
    key[:, 1, IMAGE, 0] = 9.0 * torch.from_numpy(patches > 0)
    query = torch.zeros(n, 4, behind, 4)
    query[:, 2, :, 0] = 1.0  # heads 2 and 3 share the second key head
    gaze.read(torch.zeros_like(query), key, 1.0)
    gaze.read(query, key, 1.0)
    boxed, sums = patches.any(1), gaze.totals()
    score = heads.scores(sums["hits"][boxed])
    assert score[1, 2] == pytest.approx(1.0)
    share = sums["inside"] / sums["looked"]
    area = patches.mean(1)
    np.testing.assert_allclose(share[:, 0], np.broadcast_to(area[:, None], (n, 4)), rtol=1e-5)
    inside = [p[p > 0].mean() for p in patches[boxed]]
    np.testing.assert_allclose(share[boxed, 1, 2], inside, rtol=0.02)
    found = heads.concentrated(sums["hits"][boxed])
    tied, size = batch.tied.sum(1).numpy()[boxed], (patches[boxed] > 0).sum(1)
    assert found["heads/hits"] == pytest.approx((tied / size).mean())
    assert found["heads/gini"] == pytest.approx(1 - 1 / 8) and found["heads/top"] == 1


def test_concentration_by_hand():
    even = heads.concentrated(np.ones((3, 4, 10)))
    assert even["heads/gini"] == pytest.approx(0) and even["heads/hits"] == 40
    assert even["heads/top"] == pytest.approx(2 / 40)
    assert even["heads/effective"] == pytest.approx(40)
    two = heads.concentrated(np.array([[[3.0, 0.0], [0.0, 0.0]], [[0.0, 0.0], [1.0, 0.0]]]))
    # Scores 0, 0, 1/4, 3/4: half the mean absolute difference over the mean.
    assert two["heads/gini"] == pytest.approx(0.625) and two["heads/top"] == 0.75
    assert two["heads/effective"] == pytest.approx(4 / 3**0.75)
    none = heads.concentrated(np.zeros((2, 2, 3)))
    assert none["heads/gini"] == pytest.approx(0) and none["heads/hits"] == 0


def test_means_by_layer_and_where_nothing_stands_before_the_image():
    table = pd.DataFrame({"item": ["a", "b"], "patches": [[0.5, 0, 0, 0], [0, 0, 0, 0]]})
    sums = {name: np.ones((2, 2, 3)) for name in ("image", "before", "looked", "inside")}
    sums["image"][0], sums["inside"][0, 1] = 0.5, 0.25
    sums["looked"][0, 0] = [1, 2, 5]  # a head counts by how much it looks
    looks = heads.by_layer(table, sums)
    assert looks["item"].tolist() == ["a", "a", "b", "b"] and looks["layer"].tolist() == [0, 1] * 2
    assert looks["box"].iloc[:2].tolist() == [3 / 8, 0.25] and looks["box"].iloc[2:].isna().all()
    found = heads.where(looks)
    assert found["box/items"] == 1 and found["box/enrichment/layer1"] == 2.0
    assert found["box/share"] == 2.5 / 8 and found["box/enrichment"] == 2.5
    assert found["vas/image"] == 0.75 and found["vas/ratio"] == 0.75
    sums["before"][:] = 0
    assert "vas/ratio" not in heads.where(heads.by_layer(table, sums))
