"""The front of the page: what held of the published claims, and each claim's figures below it."""

from typing import Any

from steps.study import behind, scenes
from steps.study.captions import CAPTIONS
from steps.study.claims import dots, texts
from steps.study.claims.decide import VERDICTS
from steps.study.claims.registry import parsed
from steps.study.markup import figure, table, text

ORDER = list(VERDICTS)
FOLDERS = {"dose": "model", "budget": "model", "train": "model", "original": "newcomers"}
"""Folders of metrics whose names do not begin with it."""


def section(summary: dict[str, Any], forests: dict[str, str]) -> str:
    """The verdict table and every claim's own block as HTML; without claims, a sentence.

    forests: for each paper the picture of its claims, SVG; may lack some.
    """
    told = summary["claims"]
    if not told["rows"]:
        return "<p>No claims: workflow/claims has none.</p>"
    count = {word: sum(row["verdict"] == word for row in told["rows"]) for word in ORDER}
    words = " · ".join(
        f'<span class="verdict {_class(word)}">{word}</span> {count[word]}' for word in ORDER
    )
    lead = (
        f"<p>{words}</p>"
        f'<p class="caption">{text(told["caution"])} Scope: {text(told["scope"])}. '
        f"{text(texts.how(told))}</p>"
    )
    papers = "".join(_paper(summary, name, forests.get(name)) for name in told["papers"])
    return lead + _filters(told) + papers


def _filters(told: dict[str, Any]) -> str:
    """Choices that hide rows by the page's style alone, without a script."""
    there = [word for word in ORDER if any(row["verdict"] == word for row in told["rows"])]
    boxes = "".join(
        f'<label><input type="checkbox" checked class="of-{_class(word)}"> {word}</label>'
        for word in there
    )
    papers = "".join(
        f'<label><input type="checkbox" checked class="of-paper-{text(name)}"> '
        f"{text(told['papers'][name]['name'])}</label>"
        for name in told["papers"]
    )
    hidden = "".join(
        f"main:has(.of-paper-{text(name)}:not(:checked)) .in-{text(name)}{{display:none}}"
        for name in told["papers"]
    )
    return (
        f'<style>{hidden}</style><form class="filters" aria-label="verdicts shown">{boxes}</form>'
        f'<form class="filters" aria-label="papers shown">{papers}</form>'
    )


def _paper(summary: dict[str, Any], name: str, picture: str | None) -> str:
    told = summary["claims"]
    paper = told["papers"][name]
    rows = [row for row in told["rows"] if row["paper"] == name]
    body = "".join(_row(row) for row in rows)
    top = "".join(f'<th scope="col">{cell}</th>' for cell in texts.HEAD)
    each = "".join(_article(row, summary) for row in rows)
    return (
        f'<details open class="in-{text(name)}">'
        f"<summary>{text(paper['name'])} ({text(paper['source'])})</summary>"
        f"{figure(picture, CAPTIONS['claims']) if picture else ''}"
        f'<div class="wide" tabindex="0"><table class="text claims"><thead><tr>{top}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
        f"<details><summary>Claim by claim: units, controls, doses, sources</summary>{each}"
        "</details></details>"
    )


def _row(row: dict[str, Any]) -> str:
    cells = [
        f'<span class="verdict {_class(row["verdict"])}">{row["verdict"]}</span>',
        text(texts.effect(row)),
        str(row["estimate"]["n"]) if row.get("estimate") else "–",
        "<br>".join(text(line) for line in texts.controls(row)) or "–",
        text(texts.reason(row)),
    ]
    says = f"<b>{text(row['says'])}</b>" if row["primary"] else text(row["says"])
    first = f'<a href="#{_anchor(row)}">{text(row["id"])}</a>. {says}'
    return (
        f'<tr class="is-{_class(row["verdict"])}"><th scope="row">{first}</th>'
        + "".join(f"<td>{cell}</td>" for cell in cells)
        + "</tr>"
    )


def _article(row: dict[str, Any], summary: dict[str, Any]) -> str:
    told = f"{_detail(row)}{_source(row, summary)}" if row.get("estimate") else ""
    return (
        f'<article id="{_anchor(row)}" class="is-{_class(row["verdict"])}">'
        f"<h3>{text(row['id'])}. {text(row['says'])}</h3>"
        f'<p><span class="verdict {_class(row["verdict"])}">{row["verdict"]}</span>: '
        f"{text(texts.effect(row))}; {text(texts.reason(row))}</p>{_about(row)}{told}</article>"
    )


def _anchor(row: dict[str, Any]) -> str:
    return f"claim-{text(row['paper'])}-{text(row['id'])}"


def _about(row: dict[str, Any]) -> str:
    lines = [f"Published: {row['published']} ({row['source']})."]
    lines += [f"Expected sign: {texts.sign(row)}."]
    lines += [f"Effect: {row['effect']}."] if row.get("effect") else []
    lines += [f"Has to be seen: {line}." for line in texts.known(row)]
    return "".join(f'<p class="caption">{text(line)}</p>' for line in lines)


def _detail(row: dict[str, Any]) -> str:
    fine = row["unit"] == "raw"
    units = [
        [text(base), str(seed), texts.shown(value, fine)]
        for base, values in row["units"].items()
        for seed, value in values
    ]
    facts = [
        ["p that there is none, corrected", f"{row['differs']:.3g}"],
        ["p that it matters, corrected", f"{row['negligible']:.3g}"],
        ["smallest effect of interest", f"{row['interest']:g}"],
    ]
    if row["flipped"] is not None:
        facts.append(["exact p by flipping signs", f"{row['flipped']:.3g}"])
    pictures = dots.strip(row)
    if dose := dots.against_dose(row):
        pictures += f'<p class="caption">What each arm gained over the base, by dose:</p>{dose}'
    tables = table(["base", "seed", "effect"], units) + table(["", ""], facts)
    return f"{pictures}<details><summary>In figures</summary>{tables}</details>"


def _source(row: dict[str, Any], summary: dict[str, Any]) -> str:
    """Where a claim's figures come from: results, code, params, and how MLflow finds the runs.

    Nothing for studies that were pooled: each has its own page.
    """
    told, study = summary.get("provenance"), summary.get("study")
    if not told or not study:
        return ""
    stages = dict.fromkeys(
        metric.split("/")[0] for term in parsed(row["effect"]) for metric in term.metrics
    )
    folders = ", ".join(f"results/{study['name']}/{FOLDERS.get(s, s)}" for s in stages)
    code = ", ".join(f"{s} {c[0][:10]}" for s in stages if (c := told["code"].get(s)))
    search = " or ".join(
        f"tags.study = '{study['name']}' and tags.stage = '{stage}'" for stage in stages
    )
    lines = [f"From {folders}, item by item."]
    lines += [f"Code: {code}. " if code else "", f"Params: {told['params_sha256'][:16]}."]
    lines += [f"In MLflow: {search}."]
    pair, link = behind.of(row["effect"]), ""
    if pair and pair in map(behind.key, summary["behind"]):
        link = f' <a href="#{scenes.anchor(pair)}">Questions that one of both alone has right</a>.'
    return f'<p class="caption">{text(" ".join(filter(None, lines)))}{link}</p>'


def _class(word: str) -> str:
    return word.replace(" ", "-")
