"""What training on alone does to a claim's effect, before any arm is looked at."""

from types import SimpleNamespace

import pytest

from steps.study.claims import noise
from steps.study.claims.registry import Claim, Paper
from steps.study.collect import Found

PARAMS = SimpleNamespace(bases={"a": None, "b": None}, diff=SimpleNamespace(sites=[], layers=[]))


@pytest.mark.parametrize(
    ("effect", "told"),
    [
        ("dpo:vqa/x - sft:vqa/x", "continue:vqa/x - none:vqa/x"),
        ("none:vqa/x - sft:vqa/x", "none:vqa/x - continue:vqa/x"),
        ("dpo:l/p - sft:l/a", "continue:l/p - none:l/a"),
        ("none:t/two/share - 0.15", "none:t/two/share - 0.15"),
        ("grpo:{a,b}/x - 2*sft:c", "continue:{a,b}/x - 2*none:c"),
        ("grpo:t/last - grpo:t/first", "continue:t/last - continue:t/first"),
    ],
)
def test_every_arm_gives_way_to_one_that_has_nothing_to_learn(effect, told):
    assert noise.still(effect) == told


def test_the_table_has_the_spread_of_the_effect_and_what_it_takes():
    found = Found()
    for base, seeds in {"a": (1, 2, 3, 4), "b": (5, 6, 7, 8)}.items():
        for i, seed in enumerate(seeds):
            for arm, right in (("none", 0.5), ("continue", 0.5 + (0.01, -0.01)[i % 2])):
                metrics = {"vqa/lenient": right, "vqa/strict": 0.3}
                found.metrics["vqa", base, arm, seed] = metrics
    claims = {
        "E1": {"effect": "dpo:vqa/lenient - sft:vqa/lenient", "interest": 2.0, "primary": True},
        "E2": {"effect": "dpo:vqa/lenient - sft:vqa/strict", "interest": 1.0},
        "E3": {"effect": ":compare/x", "interest": 1.0},
        "E4": {"why_not": "it is not here"},
    }
    base = {"says": "One is better.", "source": "here", "published": "+1"}
    papers = {
        "p": Paper(
            name="P", source="s", arms=[],
            claims={k: Claim.model_validate(base | v) for k, v in claims.items()},
        )
    }  # fmt: skip
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in noise.table(found, PARAMS, papers, 12, 2).splitlines()[2:]
    ]
    assert [row[0] for row in rows] == ["p E1 (primary)", "p E2"]
    sd = 1.0 * (8 / 6) ** 0.5  # one variance within two bases
    assert [float(row[3]) for row in rows] == pytest.approx([sd, sd], abs=0.006)
    assert rows[0][2] == "8" and float(rows[0][5]) > 0.99
    assert float(rows[1][5]) == pytest.approx(0.78, abs=0.03)
