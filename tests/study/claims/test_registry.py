"""Claims as they are written, and what is wrong in them said before a study starts."""

import pytest
import yaml

from steps.params import ParamsError
from steps.study.claims import registry
from steps.study.claims.registry import Term, parsed


def test_effects_are_sums_of_metrics_of_arms():
    assert parsed("dpo:vqa/lenient - 0.5*sft:vqa/lenient") == [
        Term(1.0, "dpo", ("vqa/lenient",)),
        Term(-0.5, "sft", ("vqa/lenient",)),
    ]
    assert parsed(":compare/{x,y}/beyond - 0.15") == [
        Term(1.0, None, ("compare/x/beyond", "compare/y/beyond")),
        Term(-0.15, None, ()),
    ]
    assert parsed(":a/{site}/b")[0].metrics == ("a/{site}/b",)


@pytest.mark.parametrize(
    ("effect", "said"),
    [
        ("dpo:vqa/lenient sft:vqa/lenient", r"stand \+ or -"),
        ("dpo:vqa/lenient -", "give arm:metric"),
        ("vqa/lenient", "is no arm:metric"),
        ("", "give arm:metric"),
    ],
)
def test_what_is_no_effect_is_said(effect, said):
    with pytest.raises(ValueError, match=said):
        parsed(effect)


def written(folder, **claim):
    good = {"says": "One is better.", "source": "here", "published": "+1"}
    good |= {"effect": "dpo:vqa/lenient - sft:vqa/lenient"}
    paper = {"name": "p", "source": "s", "arms": ["dpo", "sft"], "claims": {"E1": good | claim}}
    (folder / "p.yaml").write_text(yaml.safe_dump(paper))
    return folder


@pytest.mark.parametrize(
    ("claim", "said"),
    [
        ({"effect": "dpo:vqa/lenient - dop:vqa/lenient"}, "'dop' is none of the file's arms"),
        (
            {"controls": {"format": "dpo:vqq/strict"}},
            "no stage measures vqq/strict: the nearest that one does is vqa/strict",
        ),
        ({"effect": "dpo:vqa/lenientt"}, "vqa/lenientt: .* is vqa/lenient;"),
        ({"sees": {"it": ":compare/{site}/byeond/x"}}, "is compare/{site}/beyond/x;"),
        ({"effect": "dpo:vqa/kind/{color,fact}/lenient - sft:vqa/kind/fact/lenent"}, "fact/lenent"),
        ({"effect": None}, "give either effect or why_not"),
        ({"why_not": "too large"}, "give either effect or why_not"),
        ({"sign": 2}, "claims.E1.sign"),
        ({"intrest": 1}, "claims.E1.intrest"),
        ({"effect": "dpo"}, "claims.E1.effect"),
    ],
)
def test_what_is_wrong_names_file_and_claim(tmp_path, claim, said):
    with pytest.raises(ParamsError, match=said) as told:
        registry.read(written(tmp_path, **claim))
    assert "p.yaml" in str(told.value) and "E1" in str(told.value)


def test_a_paper_has_few_primary_claims(tmp_path):
    written(tmp_path, primary=True)
    paper = yaml.safe_load((tmp_path / "p.yaml").read_text())
    paper["claims"] = {f"E{i}": paper["claims"]["E1"] for i in range(6)}
    (tmp_path / "p.yaml").write_text(yaml.safe_dump(paper))
    with pytest.raises(ParamsError, match="6 primary claims; decide on at most 5"):
        registry.read(tmp_path)


def test_the_claims_of_all_three_papers_are_in_order():
    papers = registry.read()
    assert set(papers) == {"pivot", "diffing", "credit"}
    assert sum(len(paper.claims) for paper in papers.values()) >= 40
    assert all(3 <= sum(c.primary for c in p.claims.values()) <= 5 for p in papers.values())
