"""docs/equations.md against the code: every file, function and claim that it names is there."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from steps.study.claims import registry

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "equations.md"
HEAD = ["what", "in short", "paper", "code", "claims"]
LINK = re.compile(r"\[([^\]]+)\]\(([^)\s]+)\)")
NAME = re.compile(r"`([A-Za-z_][\w.]*)`")
NONE, ALL = "–", "all"
PAPERS = registry.read(ROOT / registry.FOLDER)


def tables():
    """Every row of every table, as its cells by their heading."""
    rows = []
    for line in PAGE.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not line.startswith("|") or set(line) <= set("|- :") or cells == HEAD:
            continue
        assert len(cells) == len(HEAD), f"{len(cells)} cells: {line}"
        rows.append(dict(zip(HEAD, cells, strict=True)))
    return rows


ROWS = tables()


def named(cell):
    """Each file of a cell `code`, and the names that stand behind it."""
    ends = [*(link.start() for link in LINK.finditer(cell)), len(cell)]
    return [
        (link[1].strip("`"), link[2], NAME.findall(cell[link.end() : end]))
        for link, end in zip(LINK.finditer(cell), ends[1:], strict=True)
    ]


CODE = [(row["what"], *found) for row in ROWS for found in named(row["code"])]


@cache
def defined(path):
    """What a file defines at its top: functions, classes, `Class.method`s and constants."""
    names = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            names |= {f"{node.name}.{m.name}" for m in node.body if isinstance(m, ast.FunctionDef)}
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return names


def cited(cell):
    """The paper and number of each claim in a cell `claims`."""
    return [] if cell in (NONE, ALL) else [word.partition(":")[::2] for word in cell.split()]


def test_the_page_has_rows_that_can_be_read():
    assert len(ROWS) > 100 and len(CODE) > len(ROWS)
    assert [row["what"] for row in ROWS if not named(row["code"])] == []
    assert len({row["what"] for row in ROWS}) == len(ROWS)


def test_every_link_leads_somewhere():
    links = [link[2] for link in LINK.finditer(PAGE.read_text())]
    assert [link for link in links if not (PAGE.parent / link).exists()] == []


def test_links_are_called_what_they_lead_to():
    assert [what for what, text, link, _ in CODE if link != f"../{text}"] == []


@pytest.mark.parametrize("path", sorted({text for _, text, _, _ in CODE}))
def test_every_name_is_defined_where_the_page_says(path):
    names = {name for _, text, _, found in CODE if text == path for name in found}
    assert names, f"no function of {path} is named beside it"
    assert sorted(names - defined(ROOT / path)) == []


def test_every_claim_that_is_named_can_be_judged():
    """And of a paper that the page speaks of, each claim that can be judged rests on something."""
    judged = {(p, c) for p, paper in PAPERS.items() for c in paper.claims if effect(p, c)}
    found = {claim for row in ROWS for claim in cited(row["claims"])}
    papers = {paper for paper, _ in found}
    assert sorted(found - judged) == []
    assert sorted(claim for claim in judged - found if claim[0] in papers) == []


def effect(paper, claim):
    """What a claim measures, None where it cannot be tested whatever is run."""
    return PAPERS[paper].claims[claim].effect


def test_no_claim_is_named_twice_in_a_row():
    assert [r["what"] for r in ROWS if len(set(cited(r["claims"]))) < len(cited(r["claims"]))] == []


def test_arms_and_metrics_of_a_claim_rest_on_the_code_that_makes_them():
    """What an effect is made of tells which rows it has to stand in: a sample of them."""
    makers = {
        r"\bdpo(_random)?:": "steps/posttrain/dpo.py",
        r"\b(sft(_flops)?|continue|sighted):": "steps/posttrain/sft.py",
        r"\b(grpo|anchor|random|coin|vppo|oracle):": "steps/posttrain/grpo.py",
        r"\bcoin:": "steps/posttrain/rewards.py",
        r"\bdpo_random:": "steps/posttrain/controls.py",
        r"\bsighted:": "steps/posttrain/sighted.py",
        r"train/(first|last)/": "steps/posttrain/history.py",
        r"/random/selected": "steps/diff/space/concepts.py",
        r":vqa/": "steps/data/parse.py",
        r":classify/asked/": "steps/encoder/ridge.py",
        r":segment/": "steps/encoder/segment.py",
        r":quality/.*/fvu/": "steps/diff/turning/measures.py",
        r":compare/.*/beyond": "steps/diff/turning/nulls.py",
        r":heads/gini": "steps/diff/drivers/concentration.py",
        r":intervene/.*/project": "steps/diff/acts/edits.py",
    }
    papers = {paper for row in ROWS for paper, _ in cited(row["claims"])}
    for made, path in makers.items():
        rests = {
            claim
            for row in ROWS
            if any(text == path for text, *_ in named(row["code"]))
            for claim in cited(row["claims"])
        }
        needs = {
            (name, number)
            for name, paper in PAPERS.items()
            if name in papers
            for number, claim in paper.claims.items()
            for some in [claim.effect, *claim.sees.values(), *claim.controls.values()]
            if some and re.search(made, some)
        }
        assert needs and needs <= rests, (path, sorted(needs - rests))
