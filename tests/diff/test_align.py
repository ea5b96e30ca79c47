import numpy as np
import pandas as pd
import pytest
import torch

from steps.diff.turning import align, measures


def data(rows=600, width=24, seed=0):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, width, generator=g) * torch.linspace(0.5, 2, width) + 1
    turn, _ = torch.linalg.qr(torch.randn(width, width, generator=g, dtype=torch.float64))
    return x, turn, g


def test_a_turn_of_the_space_is_undone():
    x, turn, g = data()
    y = (x.double() @ turn + 3).float()
    rows = torch.nn.functional.normalize(torch.randn(40, 24, generator=g))
    other = (rows.double() @ turn).float()
    fit = np.arange(600) % 5 > 0
    found, shares = align.orthogonal(x, y, fit)
    torch.testing.assert_close(found, turn, atol=1e-4, rtol=0)
    assert np.abs(measures.cosines(rows, other)).max() < 0.8
    assert measures.cosines(rows.double() @ found, other).min() > 0.9999
    assert shares["explained"] > 0.9999 and shares["plain"] < 0.5


def test_what_did_not_turn_is_left_alone_and_noise_is_judged_on_other_rows():
    x, _, g = data()
    fit = np.arange(600) < 100
    turn, shares = align.orthogonal(x, x, fit)
    torch.testing.assert_close(turn, torch.eye(24, dtype=torch.float64), atol=1e-6, rtol=0)
    assert shares["explained"] == pytest.approx(1) and shares["plain"] == pytest.approx(1)
    assert align.orthogonal(x, 3 * x, fit)[1] == pytest.approx(shares)  # lengths do not count
    noise = torch.randn(600, 24, generator=g)
    _, shares = align.orthogonal(x, noise, fit)  # the fit may flatter itself, the rest does not
    assert shares["explained"] < 0


def test_too_few_rows_give_no_map():
    x, *_ = data()
    assert align.orthogonal(x, x, np.arange(600) < 47) is None
    assert align.orthogonal(x, x, np.ones(600, bool)) is None


def table(*rows):
    return pd.DataFrame(rows, columns=["sample", "position", "token", "type"])


def test_words_are_paired_from_the_end():
    seen = table(
        (0, 1, 9, "image"), (0, 2, 9, "image"), (0, 3, 5, "question"), (0, 4, 6, "answer"),
        (1, 1, 9, "image"), (1, 2, 9, "image"), (1, 3, 7, "question"), (1, 4, 8, "answer"),
    )  # fmt: skip
    told = table(
        (0, 1, 3, "told"), (0, 2, 5, "question"), (0, 3, 6, "answer"),
        (1, 1, 3, "told"), (1, 2, 3, "told"), (1, 3, 4, "question"), (1, 4, 8, "answer"),
    )  # fmt: skip
    one, other = align.shared(seen, told)
    assert list(zip(one, other, strict=True)) == [(2, 1), (3, 2), (7, 6)]  # 7 is not 4
    same, again = align.shared(seen, seen.copy())
    assert list(same) == list(again) == list(range(8))
