import pytest
import torch

from steps.diff import fit, topk

PLAN = fit.Plan(k=4, steps=50, batch=64, learning_rate=3e-3, variance=24.0, seed=5)


@pytest.fixture
def x():
    g = torch.Generator().manual_seed(0)
    return torch.randn(300, 8, generator=g).relu() @ torch.randn(8, 24, generator=g)


@pytest.fixture
def first(x):
    return topk.start(x, 48, torch.Generator().manual_seed(1))


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


def test_a_fit_learns_and_leaves_its_start_alone(x, first):
    before = {name: tensor.clone() for name, tensor in first.items()}
    losses = []
    _, last = fit.fit(x, first, PLAN, note=lambda step, loss, dead: losses.append(loss))
    assert same(before, first)
    assert len(losses) == PLAN.steps and losses[-1] == last < 0.5 * losses[0]


def test_one_seed_one_result_another_seed_another(x, first):
    once, again = fit.fit(x, first, PLAN)[0], fit.fit(x, first, PLAN)[0]
    other = fit.fit(x, first, fit.Plan(**{**vars(PLAN), "seed": 6}))[0]
    assert same(once, again)
    assert not same(once, other)


class Killed(Exception):
    pass


@pytest.mark.parametrize("at", [0, 19, 20, 33, 49])
def test_a_killed_fit_goes_on_bit_for_bit(x, first, tmp_path, monkeypatch, at):
    monkeypatch.setattr(fit, "KEEP_EVERY", 10)
    whole, loss = fit.fit(x, first, PLAN)
    path = tmp_path / "state" / "before.safetensors"

    def die(step, loss, dead):
        if step == at:
            raise Killed

    with pytest.raises(Killed):
        fit.fit(x, first, PLAN, path, die)
    assert fit.done(path) == at // 10 * 10  # the note comes before the checkpoint
    steps = []
    resumed, last = fit.fit(x, first, PLAN, path, lambda step, *_: steps.append(step))
    assert steps[0] == at // 10 * 10
    assert same(whole, resumed) and last == loss
    # and a fit that had finished comes back as it was, without a step
    finished, last = fit.fit(x, first, PLAN, path, die)
    assert same(whole, finished) and last == loss
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_batch_never_holds_a_token_twice_and_an_epoch_all_of_them():
    plan = fit.Plan(**{**vars(PLAN), "steps": 9})
    steps = dict(fit.batches(256, plan))
    assert list(steps) == list(range(9))
    assert torch.equal(torch.cat([steps[i] for i in range(4)]).sort().values, torch.arange(256))
    assert not torch.equal(steps[0], steps[4])
    late = dict(fit.batches(256, plan, 6))
    assert list(late) == [6, 7, 8] and all(torch.equal(late[i], steps[i]) for i in late)


def test_the_auxiliary_loss_brings_dead_latents_back(planted, monkeypatch):
    _, _, x, _ = planted(0, atoms=48, width=24, tokens=2000, active=3, share=0, degrees=0)
    stuck = topk.start(x, 64, torch.Generator().manual_seed(1))
    stuck["b_enc"][:48] = -3.0  # hardly ever among the largest: a quarter has to do all the work
    plan = fit.Plan(**{**vars(PLAN), "steps": 300})

    def alive(window):
        monkeypatch.setattr(fit, "DEAD_WINDOW", window)
        shares = []
        made, _ = fit.fit(x, stuck, plan, note=lambda step, loss, dead: shares.append(dead))
        values, index = topk.encode(made, x, plan.k)
        return len(index[values > 0].unique()), max(shares)

    with_it, most_dead = alive(0.1)
    without, never_dead = alive(2.0)
    assert most_dead > 0.25 and never_dead == 0
    assert with_it >= without + 10


def test_too_few_tokens_and_a_loss_that_is_no_number_are_named(x, first):
    with pytest.raises(ValueError, match="diff.batch is 64.*the 20 tokens"):
        fit.fit(x[:20], first, PLAN)
    with pytest.raises(ValueError, match="loss is nan at step 0"):
        fit.fit(x * float("nan"), first, PLAN)
