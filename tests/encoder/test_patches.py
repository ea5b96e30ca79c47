"""The patch probe: labels by hand, figures against scikit-learn's, and encoders of known truth."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, precision_recall_fscore_support

from steps.encoder import patch_labels, patches
from steps.encoder.logistic import slices
from steps.stage import StageError

NAMES = ["background", "cat", "dog", "cup", "pen"]
SIDE, WIDTH = 6, 24
TRAIN, TEST = np.arange(100), np.arange(100, 160)
RECIPE = patches.Recipe(epochs=20, batch=16, rate=0.02, end=0.002)


def scenes(seed=0, n=160):
    """Maps uint8 [n, 30, 30] of two objects out of four, each some patches wide."""
    rng = np.random.default_rng(seed)
    maps = np.zeros((n, 30, 30), np.uint8)
    for y in maps:
        for kind in rng.permutation(4)[:2]:
            (top, left), (tall, wide) = rng.integers(0, 22, 2), rng.integers(6, 14, 2)
            y[top : top + tall, left : left + wide] = 1 + kind
    return maps


def encoder(maps, local, noise, seed=0):
    """Tokens [N, P, WIDTH]: embeddings of each patch's classes, or of the image's, plus noise."""
    rng = np.random.default_rng(seed)
    y = patch_labels.labels(maps, SIDE, len(NAMES))
    tokens = y @ rng.normal(size=(len(NAMES), WIDTH))
    if not local:
        tokens = np.broadcast_to(tokens.mean(1, keepdims=True), tokens.shape)
    return (tokens + noise * rng.normal(size=tokens.shape)).astype(np.float32)


def both(counts, draws=100):
    """Macro F1 of bootstrap samples of images, for each of several counts [3, M, C]: [K, draws]."""
    pick = np.random.default_rng(0).integers(0, counts[0].shape[1], (draws, counts[0].shape[1]))
    return np.array(
        [[patch_labels.table(c[:, rows].sum(1)).f1.mean() for rows in pick] for c in counts]
    )


@pytest.mark.parametrize("size", [(24, 24), (25, 31), (7, 6)])
@pytest.mark.parametrize("kind", ["union", "majority"])
def test_labels_equal_a_slow_loop(size, kind, monkeypatch):
    monkeypatch.setattr(patch_labels, "IMAGES", 3)  # no divisor of 7
    rng = np.random.default_rng(0)
    coarse = rng.choice([0, 0, 1, 2, 3, 255], (7, 9, 9)).astype(np.uint8)
    maps = coarse[:, np.arange(size[0]) * 9 // size[0]][:, :, np.arange(size[1]) * 9 // size[1]]
    maps[:, : -(-size[0] // 6), : -(-size[1] // 6)] = 255
    expected = np.zeros((7, 36, 4), bool)
    for i, image in enumerate(maps):
        inside = {}
        for (row, column), value in np.ndenumerate(image):
            at = int((row + 0.5) / size[0] * 6), int((column + 0.5) / size[1] * 6)
            inside.setdefault(at, []).append(int(value))
        for (row, column), values in inside.items():
            values = [v for v in values if v != 255]
            told = {v for v in values if v} or set(values)
            if kind == "majority" and values:
                told = {max(sorted(set(values)), key=values.count)}
            expected[i, row * 6 + column, list(told)] = True
    found = patch_labels.labels(maps, 6, 4, kind, 255)
    assert found.dtype == bool and (found == expected).all()
    assert not found[:, 0].any() and found.sum() > 100  # all of the first patch is ignored
    assert (found.sum(2).max() > 1) == (kind == "union")


def test_background_is_where_nothing_else_is():
    maps = np.zeros((1, 4, 4), np.uint8)
    maps[0, 0, 0], maps[0, 3, 2:] = 2, 1
    union, majority = (patch_labels.labels(maps, 2, 3, k)[0] for k in ("union", "majority"))
    assert union.tolist() == [[0, 0, 1], [1, 0, 0], [1, 0, 0], [0, 1, 0]]
    assert majority.tolist() == [[1, 0, 0]] * 4  # two against two: the first


def answers(seed=0):
    """Labels of 8 images, some patches without any, one class unseen; probabilities with ties."""
    rng = np.random.default_rng(seed)
    y = rng.random((8, 9, 5)) < [0.5, 0.1, 0.3, 0.05, 0]
    y[rng.random((8, 9)) < 0.2] = False
    told = np.clip(0.3 * y + rng.random(y.shape) * 0.8, 0, 1).round(1).astype(np.float32)
    told[..., 3] = 0.01  # occurs, and is never told
    return told, y


def test_figures_equal_scikit_learn():
    told, y = answers()
    known = y.any(2)
    classes = np.flatnonzero(y[known].any(0))
    assert classes.tolist() == [0, 1, 2, 3]
    rows = patch_labels.sweep(told, y)
    assert rows.threshold.tolist() == [round(0.05 * n, 2) for n in range(1, 20)]
    for row in rows.itertuples():
        yes = told[known] > row.threshold
        peer = precision_recall_fscore_support(
            y[known], yes, labels=classes, average="macro", zero_division=0
        )
        assert (row.precision, row.recall, row.f1) == pytest.approx(peer[:3])
    peer = average_precision_score(y[known][:, classes], told[known][:, classes], average=None)
    found = patch_labels.precisions(told, y)
    assert found.index.tolist() == classes.tolist() and found.tolist() == pytest.approx(peer)
    one = told[:, :1]  # one answer an image
    peer = average_precision_score(
        y[known][:, :3], np.repeat(one, 9, 1)[known][:, :3], average=None
    )
    assert patch_labels.precisions(one, y)[:3].tolist() == pytest.approx(peer)
    assert (
        patch_labels.counts(one, y, 0.3) == patch_labels.counts(np.repeat(one, 9, 1), y, 0.3)
    ).all()


def test_prior_is_a_yes_to_everything():
    _, y = answers()
    yes = np.ones(y.shape, np.float32)
    told = patch_labels.prior(y)
    assert told["map"] == pytest.approx(patch_labels.precisions(yes, y).mean())
    assert told["f1"] == pytest.approx(patch_labels.sweep(yes, y).f1[0])


def test_threshold_of_the_largest_f1_nearest_to_half():
    y = np.zeros((1, 10, 2), bool)
    y[0, :4, 1], y[0, 4:, 0] = True, True
    told = np.where(y, 0.72, 0.33)  # all right from 0.35 to 0.7
    assert patch_labels.choose(patch_labels.sweep(told, y)) == 0.5
    assert patch_labels.choose(patch_labels.sweep(np.where(y, 0.9, 0.62), y)) == 0.65


@pytest.mark.parametrize("hidden", [0, 8])
def test_training_equals_torchs_adamw(hidden):
    rng = np.random.default_rng(1)
    x = (3 * rng.normal(size=(10, 4, 5)) + 1).astype(np.float32)
    y = rng.random((10, 4, 3)) < 0.4
    y[:4, :3] = False  # batches differ in what they hold
    recipe = patches.Recipe(hidden, epochs=4, batch=5, rate=0.05, end=0.01, warm=0.25, decay=0.1)
    ours = patches.fit(x, y, y.any(2), np.arange(10), recipe, 3)
    flat, truth = torch.from_numpy(x).flatten(0, 1), torch.from_numpy(y).float()
    z = ((flat - flat.mean(0)) / flat.std(0, correction=0)).view(10, 4, 5)
    known, dice = truth.any(2), torch.Generator().manual_seed(3)
    start = patches._start(5, hidden, y, y.any(2), dice)
    parts = [torch.nn.Linear(len(w) - 1, w.shape[1]) for w in start]
    for part, w in zip(parts, start, strict=True):
        part.weight.data, part.bias.data = w[:-1].T.detach().clone(), w[-1].detach().clone()
    share = truth[known].mean(0)
    assert torch.allclose(parts[-1].bias.sigmoid(), share, atol=0.03)  # the classes' own odds
    peer = torch.nn.Sequential(parts[0], *(p for q in parts[1:] for p in (torch.nn.GELU(), q)))
    pace = torch.optim.AdamW(peer.parameters(), lr=1.0, weight_decay=0.1)
    order = torch.cat([torch.randperm(10, generator=dice) for _ in range(4)])
    for step, now in enumerate(order.split(5)):
        rate = 0.05 * (step + 1) / 2 if step < 2 else 0.03 + 0.02 * np.cos(np.pi * step / 8)
        pace.param_groups[0]["lr"] = rate
        loss = torch.nn.BCEWithLogitsLoss()(peer(z[now][known[now]]), truth[now][known[now]])
        pace.zero_grad()
        loss.backward()
        pace.step()
    theirs = peer(z).sigmoid().detach().numpy()
    np.testing.assert_allclose(patches.predict(x, ours), theirs, atol=1e-5)


def test_the_control_is_the_head_on_the_mean_token_repeated():
    maps, recipe = scenes(), replace(RECIPE, epochs=6)
    maps[:60, 5:] = 255  # a patch's share of an image is not that of all
    tokens = encoder(scenes(), True, 0.1)
    repeated = np.repeat(tokens.mean(1, keepdims=True), SIDE**2, 1)
    more = (maps, NAMES, TRAIN, TEST, recipe, 0, "union", 255)
    one, many = patches.probe(tokens, *more).everywhere, patches.probe(repeated, *more).local
    told = [patches.predict(repeated[TEST], answers.weights) for answers in (one, many)]
    np.testing.assert_allclose(*told, atol=1e-4)
    assert one.threshold == many.threshold
    assert one.sweep.f1.tolist() == pytest.approx(many.sweep.f1.tolist(), abs=2e-3)


@pytest.mark.parametrize("hidden", [0, 32])
def test_localisation_tells_local_from_global(hidden):
    maps, recipe = scenes(), replace(RECIPE, hidden=hidden)
    local, whole, noisy = (
        patches.probe(encoder(maps, near, noise), maps, NAMES, TRAIN, TEST, recipe)
        for near, noise in ((True, 0.5), (False, 0.1), (False, 0.5))
    )
    assert local.metrics["local/f1"] > 0.95 and local.metrics["local/map"] > 0.95
    assert local.metrics["localisation/f1"] > 0.4 and local.metrics["localisation/map"] > 0.4
    one, other = both([local.local.counts, local.everywhere.counts])
    assert one.mean() == pytest.approx(local.metrics["local/f1"], abs=0.01)
    assert (one - other).min() > 0.4
    # What is where cannot be told from what is there, but what is there can: above the prior.
    assert whole.metrics["global/f1"] > whole.metrics["prior/f1"] + 0.08
    assert whole.metrics["global/map"] > whole.metrics["prior/map"] + 0.08
    for key in ("localisation/f1", "localisation/map"):
        assert abs(whole.metrics[key]) < 0.03
        assert -0.1 < noisy.metrics[key] < 0  # the mean token is rid of noise, each token is not


def test_tokens_all_alike_localise_nothing():
    maps = scenes()
    tokens = encoder(maps, True, 0.5).mean(1, keepdims=True).repeat(SIDE**2, 1)
    told = patches.probe(tokens, maps, NAMES, TRAIN, TEST, RECIPE).metrics
    assert told["localisation/f1"] == pytest.approx(0, abs=2e-3)
    assert told["localisation/map"] == pytest.approx(0, abs=2e-3)


@pytest.mark.parametrize("hidden", [0, 32])
def test_shuffled_labels_reach_the_prior_only(hidden):
    maps = scenes()
    tokens = encoder(maps, True, 0.5)
    mixed = np.random.default_rng(1).permutation(maps.reshape(-1)).reshape(maps.shape)
    for wrong in (maps[np.random.default_rng(1).permutation(len(maps))], mixed):
        recipe = replace(RECIPE, hidden=hidden)
        told = patches.probe(tokens, wrong, NAMES, TRAIN, TEST, recipe).metrics
        assert told["local/f1"] < told["prior/f1"] + 0.03
        assert told["local/map"] < told["prior/map"] + 0.03


def test_ignored_pixels_change_nothing():
    """Patches of which all pixels are ignored may hold any token: no figure moves."""
    maps = scenes()
    maps[:, :, :15] = 255
    tokens = encoder(scenes(), True, 0.5)
    y = patch_labels.labels(maps, SIDE, 5, ignored=255)
    found = patches.probe(tokens, maps, NAMES, TRAIN, TEST, RECIPE, ignored=255)
    assert found.local.counts[[0, 2]].sum() == y[TEST].sum()
    tokens[TEST] *= np.where(y[TEST].any(2), 1, -5)[..., None]
    moved = patches.probe(tokens, maps, NAMES, TRAIN, TEST, RECIPE, ignored=255)
    assert (moved.local.counts == found.local.counts).all()
    assert (moved.local.classes == found.local.classes).all(axis=None)


def test_metrics_hang_together():
    maps = scenes()
    told = patches.probe(encoder(maps, True, 2.0), maps, NAMES, TRAIN, TEST, RECIPE)
    tp, _, fn = told.local.counts.sum(1)
    assert told.local.counts.shape == (3, 60, 5)
    assert told.metrics["local/recall"] == pytest.approx((tp / (tp + fn)).mean())
    half = told.local.sweep.set_index("threshold").loc[0.5]
    assert told.metrics["local/paper_macro_recall"] == half.recall
    assert told.metrics["local/f1_at_half"] == half.f1 < half.precision
    best = told.local.sweep.set_index("threshold").loc[told.local.threshold]
    assert told.metrics["local/f1"] == pytest.approx(best.f1)
    gap = told.metrics["local/map"] - told.metrics["global/map"]
    assert told.metrics["localisation/map"] == pytest.approx(gap)
    assert all(type(v) is float and np.isfinite(v) for v in told.metrics.values())


@pytest.mark.parametrize("hidden", [0, 8])
def test_same_seed_same_head_and_half_precision_will_do(hidden):
    maps, recipe = scenes(), replace(RECIPE, hidden=hidden, epochs=4)
    tokens = encoder(maps, True, 0.5).astype(np.float16)

    def go(x, seed):
        return patches.probe(x, maps, NAMES, TRAIN, TEST, recipe, seed).local.weights

    first, again, other = go(tokens, 4), go(tokens.astype(np.float32), 4), go(tokens, 5)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0])


def test_nothing_is_chosen_on_the_test_set():
    """The test labels' own best threshold is another one; neither it nor their tokens matter."""
    maps = scenes()
    tokens = encoder(maps, True, 2.0)
    before = patches.probe(tokens, maps, NAMES, TRAIN, TEST, RECIPE)
    changed, moved = maps.copy(), tokens.copy()
    changed[TEST] = maps[TEST][::-1]  # of other images: now it is best to say yes to all
    moved[TEST] += 7
    for x, y in ((tokens, changed), (moved, maps)):
        after = patches.probe(x, y, NAMES, TRAIN, TEST, RECIPE)
        for one, other in ((before.local, after.local), (before.everywhere, after.everywhere)):
            assert one.threshold == other.threshold
            assert all(torch.equal(a, b) for a, b in zip(one.weights, other.weights, strict=True))
            assert y is maps or patch_labels.choose(other.sweep) < other.threshold
        assert after.metrics["local/f1"] < before.metrics["local/f1"]


def test_threshold_is_chosen_on_the_slice_without_training_on_it():
    maps = scenes()
    tokens = encoder(maps, True, 2.0)
    y = patch_labels.labels(maps, SIDE, 5)
    chosen, rest = (TRAIN[part] for part in slices(len(TRAIN), RECIPE.share, 0))
    trial = patches.fit(tokens, y, y.any(2), rest, RECIPE, 0)
    rows = patch_labels.sweep(patches.predict(tokens[chosen], trial), y[chosen])
    told = patches.probe(tokens, maps, NAMES, TRAIN, TEST, RECIPE).local
    assert told.threshold == patch_labels.choose(rows)
    w = patches.fit(tokens, y, y.any(2), TRAIN, RECIPE, 0)
    assert torch.equal(told.weights[0], w[0]) and not torch.equal(told.weights[0], trial[0])


def test_what_is_learnt_by_heart_moves_no_threshold():
    """Tokens of noise, so wide that the head knows its training patches: it is best to say yes."""
    maps = scenes()
    tokens = np.random.default_rng(0).normal(size=(160, SIDE**2, 600)).astype(np.float32)
    few = replace(RECIPE, epochs=30)
    told = patches.probe(tokens, maps, NAMES, TRAIN[:20], TEST, few).local
    y = patch_labels.labels(maps, SIDE, 5)[:20]
    known = patch_labels.sweep(patches.predict(tokens[:20], told.weights), y)
    assert known.f1.max() > 0.9 and patch_labels.choose(known) >= 0.2
    assert told.threshold == 0.05


def test_errors_say_what_to_do():
    maps = scenes()
    tokens = encoder(maps, True, 0.5)

    def wrong(match, x=tokens, y=maps, names=NAMES, train=TRAIN, test=TEST, **more):
        with pytest.raises(StageError, match=match):
            patches.probe(x, y, names, train, test, RECIPE, **more)

    blank = maps.copy()
    blank[TRAIN] = 0
    wrong("all training maps are background", y=blank)
    blank[:, :9], blank[TEST] = 255, 255
    wrong("all training maps are background", y=blank, ignored=255)
    blank[TRAIN] = maps[TRAIN]
    wrong("all test maps are ignored", y=blank, ignored=255)
    wrong("training maps hold the class 4, but 4 are named", names=NAMES[:4])
    wrong("test maps hold the class 255, but 5 are named", y=blank)
    wrong(r"160 images have tokens, but the maps' shape is \(159, 30, 30\)", y=maps[:159])
    wrong("35 patch tokens make no square grid", x=tokens[:, :35])
    wrong("1 training and 60 test images", train=TRAIN[:1])
    wrong("100 training and 0 test images", test=TEST[:0])
    wrong("10 of them in both", train=np.arange(110))
    wrong("`union` or `majority`, not 'all'", kind="all")
    wrong("maps of 5 x 30 pixels are smaller", y=maps[:, 10:15])
