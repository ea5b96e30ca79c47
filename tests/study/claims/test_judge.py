"""Claims judged on figures whose truth is known, and shown."""

import re
from types import SimpleNamespace

import numpy as np
import pytest

from steps.study.claims import dots, judge, page, texts
from steps.study.claims.registry import Claim, Paper
from steps.study.collect import Found

SEEDS = range(8)


def study(**arms):
    """What `collect` finds of arms whose vqa/lenient and vqa/strict are functions of the seed."""
    found = Found()
    for arm, metrics in arms.items():
        for seed in SEEDS:
            place = ("vqa", "bundled", arm, seed)
            found.metrics[place] = {f"vqa/{k}": of(seed) for k, of in metrics.items()}
    for seed in SEEDS:
        found.metrics["compare", "bundled", None, seed] = {
            f"compare/residual.{layer}/beyond/x": 0.01 * layer + 0.001 * seed for layer in (1, 3)
        }
    return found


PARAMS = SimpleNamespace(
    bases={"bundled": None},
    arms=["none", "better", "formal"],
    data=SimpleNamespace(source="world"),
    world=SimpleNamespace(sprites="drawn"),
    diff=SimpleNamespace(sites=["residual"], layers=[1, 3]),
)
NOISE = 0.002 * np.array([1, -1, 0.5, -0.5, 0.2, -0.2, 0.7, -0.7])


def told(found, **claims):
    base = {"says": "One is better.", "source": "here", "published": "+1"}
    made = {name: Claim.model_validate(base | claim) for name, claim in claims.items()}
    paper = Paper(name="<b>P</b>", source="s", arms=[], claims=made)
    return judge.told(found, PARAMS, {"p": paper})


def flat(value):
    return lambda seed: value + NOISE[seed]


@pytest.fixture
def found():
    return study(
        none={"lenient": lambda s: 0.5, "strict": lambda s: 0.5},
        better={"lenient": flat(0.53), "strict": flat(0.53)},
        formal={"lenient": lambda s: 0.5 + NOISE[::-1][s] / 9, "strict": flat(0.53)},
    )


def row(told, name="E"):
    return next(r for r in told["rows"] if r["id"] == name)


def test_an_effect_is_formed_on_each_seed_in_points(found):
    one = row(told(found, E={"effect": "better:vqa/lenient - none:vqa/lenient"}))
    assert one["estimate"]["mean"] == pytest.approx(3.0) and one["estimate"]["n"] == 8
    assert dict(map(tuple, one["units"]["bundled"]))[0] == pytest.approx(3.2)
    assert one["verdict"] == "replicated"


def test_format_explains_what_is_format_alone(found):
    claim = {
        "effect": "formal:vqa/strict - none:vqa/strict",
        "controls": {
            "format": "formal:vqa/strict - formal:vqa/lenient - none:vqa/strict + none:vqa/lenient"
        },
    }
    one = row(told(found, E=claim))
    assert (one["verdict"], one["why"]) == ("explained", "by format")
    claim = {name: text.replace("formal", "better") for name, text in claim["controls"].items()}
    both = {"effect": "better:vqa/strict - none:vqa/strict", "controls": claim}
    assert row(told(found, E=both))["verdict"] == "replicated"


def test_what_the_study_lacks_is_named_and_the_rest_stands(found):
    lacking = {"effect": "dpo:vqa/lenient - none:vqa/lenient"}
    control = {
        "effect": "better:vqa/lenient - none:vqa/lenient",
        "controls": {"x": "dpo:vqa/lenient - none:vqa/lenient"},
    }
    both = told(found, E=lacking, F=control, G={"why_not": "it takes more"})
    assert row(both)["verdict"] == "not testable"
    assert row(both)["why"] == "not measured: dpo:vqa/lenient"
    assert row(both, "F")["verdict"] == "replicated"
    assert row(both, "F")["why"] == "the published sign; without the control x"
    assert texts.controls(row(both, "F")) == ["x: not there"]
    assert row(both, "G")["why"] == "it takes more"


def test_no_difference_is_explained_by_a_control_that_has_none_either(found):
    claim = {"effect": "formal:vqa/lenient - none:vqa/lenient", "sign": 0}
    assert row(told(found, E=claim))["verdict"] == "replicated"
    control = {"same": "none:vqa/strict - none:vqa/lenient"}
    one = row(told(found, E=claim | {"controls": control}))
    assert (one["verdict"], one["why"]) == ("explained", "by same")
    control = {"other": "better:vqa/lenient - none:vqa/lenient"}
    assert row(told(found, E=claim | {"controls": control}))["verdict"] == "replicated"


def test_a_control_that_is_not_told_apart_is_named(found):
    noisy = {"lenient": lambda s: 0.503 + 8 * NOISE[s], "strict": lambda s: 0.5}
    both = study(none={"lenient": lambda s: 0.5}, better={"lenient": flat(0.51)}, formal=noisy)
    claim = {
        "effect": "better:vqa/lenient - none:vqa/lenient",
        "controls": {"noisy": "formal:vqa/lenient - none:vqa/lenient"},
    }
    one = row(told(both, E=claim))
    assert one["verdict"] == "replicated" and one["why"].endswith("not told apart from noisy")


def test_a_metric_of_the_base_is_averaged_over_sites_and_numbers_stand_for_themselves(found):
    one = row(told(found, E={"effect": ":compare/{site}/beyond/x - 0.02", "interest": 5.0}))
    assert one["estimate"]["mean"] == pytest.approx(0.35)
    assert one["verdict"] == "equivalent"


def test_a_bar_is_told_beside_what_is_beyond_it(found):
    one = row(told(found, E={"effect": "better:vqa/lenient - none:vqa/lenient + 0.03"}))
    assert one["bar"] == -3 and texts.effect(one).startswith("+6.0 [")
    assert texts.effect(one).endswith("] beyond −3")
    plain = row(told(found, E={"effect": "better:vqa/lenient - none:vqa/lenient"}))
    assert plain["bar"] == 0 and texts.effect(plain).endswith("]")


def test_a_metric_that_never_moves_and_units_without_it_are_spoken_of(found):
    del found.metrics["vqa", "bundled", "none", 7]["vqa/strict"]
    one = row(told(found, E={"effect": "none:vqa/strict - 0.4"}))
    assert one["estimate"]["n"] == 7 and one["meant"] == 8
    assert "there in 7 of 8 units; the same in every unit" in texts.reason(one)


def test_a_denial_that_nothing_known_stands_behind_says_so(found):
    claim = {"effect": "none:vqa/lenient - better:vqa/lenient", "interest": 0.1}
    one = row(told(found, E=claim))
    assert one["verdict"] == "contradicted" and "no effect that is known to be" in texts.reason(one)
    sees = {"sees": {"known": "better:vqa/lenient - none:vqa/lenient"}}
    assert "known to be" not in texts.reason(row(told(found, E=claim | sees)))


def test_verdicts_on_files_do_not_speak_of_a_small_world(found):
    assert "small synthetic world" in told(found)["caution"]
    files = SimpleNamespace(**vars(PARAMS) | {"data": SimpleNamespace(source="files")})
    assert "synthetic" not in judge.told(found, files, {})["caution"]


def test_an_instrument_that_did_not_see_may_not_deny(found):
    claim = {"effect": "none:vqa/lenient - better:vqa/lenient"}
    assert row(told(found, E=claim))["verdict"] == "contradicted"
    known = {"formal": "formal:vqa/lenient - none:vqa/lenient"}
    unseen = row(told(found, E=claim | {"sees": known}))
    assert unseen["verdict"] == "inconclusive" and unseen["why"].endswith("not seen was formal")
    seen = {"strict": "better:vqa/strict - none:vqa/strict"}
    assert row(told(found, E=claim | {"sees": seen}))["verdict"] == "contradicted"
    assert row(told(found, E=claim | {"sees": seen | known}))["verdict"] == "inconclusive"
    absent = seen | {"gone": "dpo:vqa/lenient - none:vqa/lenient"}  # what was not asked is not seen
    gone = row(told(found, E=claim | {"sees": absent}))
    assert gone["why"].endswith("not seen was gone")
    lines = texts.known(gone)  # what was known, how far it came, and what was not measured
    assert len(lines) == 2 and lines[0].endswith("], seen") and lines[1].endswith(": –, not seen")
    assert gone["known"]["gone"] == {"effect": absent["gone"], "seen": False}


def test_primary_claims_are_corrected_together_and_others_apart(found):
    weak = {"effect": "formal:vqa/lenient - none:vqa/lenient"}
    strong = {"effect": "better:vqa/lenient - none:vqa/lenient"}
    alone = row(told(found, E=strong | {"primary": True}))["differs"]
    many = told(found, E=strong | {"primary": True}, F=weak | {"primary": True}, G=strong)
    assert row(many)["differs"] == pytest.approx(2 * alone)
    assert row(many, "G")["differs"] == pytest.approx(alone)
    noisy = study(
        none={"lenient": lambda s: 0.5}, better={"lenient": lambda s: 0.53 + 5 * NOISE[s]}
    )
    strong |= {"primary": True}
    one, both = told(noisy, E=strong), told(noisy, E=strong, F=strong)
    assert row(one)["enough"] < row(both)["enough"]  # the more that are decided, the more it takes


def test_the_page_escapes_what_it_is_given_and_says_how_many_would_tell(found):
    noisy = study(
        none={"lenient": lambda s: 0.5},
        dpo={"lenient": lambda s: 0.505 + 20 * NOISE[s]},
    )
    claim = {"effect": "dpo:vqa/lenient - none:vqa/lenient", "says": "<script>alert(1)</script>"}
    summary = {"claims": told(noisy, E=claim)}
    html = page.section(summary, {})
    assert "<script>" not in html and "&lt;script&gt;" in html and "&lt;b&gt;P" in html
    assert "units would tell" in html and "inconclusive" in html
    assert "| inconclusive |" in texts.markdown(summary["claims"])
    assert "{" not in texts.how(summary["claims"])
    lines = texts.tex(summary["claims"]).splitlines()
    [line] = [line for line in lines if "inconclusive" in line]
    assert line.startswith(r"E. \textless{}script\textgreater{}alert(1)") and line.endswith(r"\\")
    assert line.count(" & ") == len(texts.HEAD) - 1
    assert "No claims" in page.section({"claims": judge.told(noisy, PARAMS, {})}, {})


def test_arms_of_one_colour_are_told_apart_in_the_picture_by_dose():
    arms = [f"arm{i}" for i in range(9)]
    points = {arm: [[0.1 * i, 1.0 * i]] for i, arm in enumerate(arms)}
    picture = dots.against_dose({"dose": points, "unit": "points"})
    styles = dict(re.findall(r'class="(a\d(?: hollow)?)" [^>]*><title>(\w+)<', picture))
    assert len(styles) == 9 and len(set(styles.values())) == 9
    fewer = dots.against_dose({"dose": points | {"arm0": []}, "unit": "points"})
    kept = dict(re.findall(r'class="(a\d(?: hollow)?)" [^>]*><title>(\w+)<', fewer))
    assert kept == {style: arm for style, arm in styles.items() if arm != "arm0"}
