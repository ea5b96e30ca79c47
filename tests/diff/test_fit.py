from dataclasses import replace

import pytest
import torch

from steps.diff.planted import plant
from steps.diff.sae import fit, source, topk

PLAN = fit.Plan(k=4, steps=50, batch=64, learning_rate=3e-3, seed=5)


def draw(seed):
    g = torch.Generator().manual_seed(seed)
    return torch.randn(300, 8, generator=g).relu() @ torch.randn(8, 24, generator=g)


@pytest.fixture
def x():
    return {"a": draw(0), "b": 3 * draw(1)}


@pytest.fixture
def first(x):
    return {s: topk.start(of, 48, torch.Generator().manual_seed(1)) for s, of in x.items()}


def same(one, other):
    pairs = [(one[site].weights, other[site].weights) for site in one]
    return all(torch.equal(a[name], b[name]) for a, b in pairs for name in a)


def equal(some, others):
    return all(torch.equal(a["a"], b["a"]) for a, b in zip(some, others, strict=True))


def told(one):
    return {site: (of.loss, of.threshold) for site, of in one.items()}


def test_a_fit_learns_and_leaves_its_start_alone(x, first):
    before = {name: tensor.clone() for name, tensor in first["a"].items()}
    losses = []

    def note(site, step, loss, dead):
        if site == "a":
            losses.append(loss)

    last = fit.fit(x, first, PLAN, note=note)["a"].loss
    assert all(torch.equal(before[name], first["a"][name]) for name in before)
    assert len(losses) == PLAN.steps and losses[-1] == last < 0.5 * losses[0]


@pytest.mark.parametrize("kind", ["topk", "batchtopk"])
def test_sites_side_by_side_come_out_as_if_alone(x, first, kind):
    plan = replace(PLAN, kind=kind)
    together = fit.fit(x, first, plan)
    for site in x:
        alone = fit.fit({site: x[site]}, {site: first[site]}, plan)
        assert same(alone, {site: together[site]})
        assert told(alone) == told({site: together[site]})
    other = fit.fit(x, first, replace(plan, seed=6))
    assert not same(together, other)


class Killed(Exception):
    pass


@pytest.mark.parametrize(
    ("at", "kind"), [(0, "topk"), (19, "batchtopk"), (20, "topk"), (49, "topk")]
)
def test_a_killed_fit_goes_on_bit_for_bit(x, first, tmp_path, monkeypatch, at, kind):
    monkeypatch.setattr(fit, "KEEP_EVERY", 10)
    plan = replace(PLAN, kind="batchtopk" if at == 19 else "topk")
    whole = fit.fit(x, first, plan)
    path = tmp_path / "state" / "S.safetensors"

    def die(site, step, loss, dead):
        if step == at:
            raise Killed

    with pytest.raises(Killed):
        fit.fit(x, first, plan, path, die)
    assert fit.done(path) == at // 10 * 10  # the note comes before the checkpoint
    steps = []
    resumed = fit.fit(x, first, plan, path, lambda site, step, *_: steps.append(step))
    assert steps[0] == at // 10 * 10
    assert same(whole, resumed) and told(whole) == told(resumed)
    # and a fit that had finished comes back as it was, without a step
    finished = fit.fit(x, first, plan, path, die)
    assert same(whole, finished) and told(whole) == told(finished)
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def some(batches, count):
    return [next(batches) for _ in range(count)]


def test_a_batch_never_holds_a_token_twice_and_an_epoch_all_of_them():
    rows = {"a": torch.arange(256), "b": -torch.arange(256)}
    steps = some(source.stored(rows, 64, 5)(0), 9)
    assert torch.equal(torch.cat([of["a"] for of in steps[:4]]).sort().values, torch.arange(256))
    assert all(torch.equal(of["a"], -of["b"]) for of in steps)
    assert not torch.equal(steps[0]["a"], steps[4]["a"])
    late = some(source.stored(rows, 64, 5)(6), 3)
    assert equal(late, steps[6:])


COUNTS = [3, 5, 4, 6, 2] * 40  # 200 samples, 800 tokens


class Model:
    """Stands for a model: token t of the samples in order is the number t, at two sites."""

    def __init__(self):
        self.starts = torch.tensor(COUNTS).cumsum(0) - torch.tensor(COUNTS)
        self.passes = []

    def __call__(self, samples):
        self.passes.append(samples)
        rows = [torch.arange(COUNTS[i]) + self.starts[i] for i in samples]
        x = torch.cat(rows).float()[:, None]
        return {"a": x, "b": -x}


def test_a_buffer_that_holds_everything_gives_the_order_of_what_is_stored():
    everything = {"a": torch.arange(800.0)[:, None]}
    kept = some(source.stored(everything, 64, 5)(0), 30)  # two epochs and a half
    made = some(source.online(Model(), COUNTS, 64, 5, 800)(0), 30)
    assert equal(kept, made)


def test_a_small_buffer_shuffles_each_epoch_and_resumes_without_reading_all_again():
    model = Model()
    made = some(source.online(model, COUNTS, 32, 5, 256)(0), 55)
    assert max(len(group) for group in model.passes) == source.GROUP
    for epoch in (made[:25], made[25:50]):
        tokens = torch.cat([of["a"] for of in epoch]).flatten()
        assert torch.equal(tokens.sort().values, torch.arange(800.0))
    assert all(torch.equal(of["a"], -of["b"]) for of in made)
    spread = made[0]["a"]
    assert spread.max() - spread.min() > 300  # samples are not read in their order
    for first in (3, 17, 24, 25, 41):
        later = Model()
        again = some(source.online(later, COUNTS, 32, 5, 256)(first), 6)
        assert equal(again, made[first : first + 6])
        # groups as before the stop: sums over a padded batch hang on what else is in it
        assert all(group in model.passes for group in later.passes)
        assert len(later.passes) <= 12


def test_fits_from_memory_and_from_a_model_are_the_same(x, first, tmp_path, monkeypatch):
    """Here the model is a table; also when the fit is stopped on its way."""
    counts = [3, 4, 5] * 25

    def forward(samples):
        ends = torch.tensor(counts).cumsum(0)
        rows = torch.cat([torch.arange(int(ends[i]) - counts[i], int(ends[i])) for i in samples])
        return {site: of[rows] for site, of in x.items()}

    here = fit.fit(x, first, PLAN)
    online = source.online(forward, counts, PLAN.batch, PLAN.seed, buffer=300)
    assert same(here, fit.fit(online, first, PLAN))
    monkeypatch.setattr(fit, "KEEP_EVERY", 10)
    path = tmp_path / "S.safetensors"

    def die(site, step, loss, dead):
        if step == 33:
            raise Killed

    with pytest.raises(Killed):
        fit.fit(online, first, PLAN, path, die)
    assert same(here, fit.fit(online, first, PLAN, path))


def test_the_auxiliary_loss_brings_dead_latents_back(monkeypatch):
    _, _, x, _ = plant(0, 0.0, (0, 0), atoms=48, width=24, tokens=2000, active=3)
    stuck = topk.start(x, 64, torch.Generator().manual_seed(1))
    stuck["b_enc"][:48] = -3.0  # hardly ever among the largest: a quarter has to do all the work
    plan = replace(PLAN, steps=300)

    def alive(window):
        monkeypatch.setattr(fit, "DEAD_WINDOW", window)
        shares = []
        note = lambda site, step, loss, dead: shares.append(dead)  # noqa: E731
        made = fit.fit({"a": x}, {"a": stuck}, plan, note=note)["a"].weights
        codes = topk.rule(plan.k)(topk.preactivations(made, x))
        return len(codes.latents[codes.values > 0].unique()), max(shares)

    with_it, most_dead = alive(0.1)
    without, never_dead = alive(2.0)
    assert most_dead > 0.25 and never_dead == 0
    assert with_it >= without + 10


def test_too_few_tokens_and_a_loss_that_is_no_number_are_named(x, first):
    with pytest.raises(ValueError, match="diff.batch is 64.*the 20 tokens"):
        fit.fit({"a": x["a"][:20]}, {"a": first["a"]}, PLAN)
    with pytest.raises(ValueError, match="loss of b is nan at step 0"):
        fit.fit({"a": x["a"], "b": x["b"] * float("nan")}, first, PLAN)
    with pytest.raises(ValueError, match="buffer of 100 tokens.*two batches of 64"):
        source.online(Model(), COUNTS, 64, 5, 100)
