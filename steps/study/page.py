"""The study's page: one file, no script, nothing fetched; every number in it is in summary.json."""

from pathlib import Path
from string import Template
from typing import Any

from steps.study import credit, diffing, markup, matrix, moved, scenes, where, words
from steps.study.canvas import colours
from steps.study.captions import CAPTIONS
from steps.study.claims import page as claims
from steps.study.markup import plain, text
from steps.study.tables import cost, number

SECTIONS = {
    "claims": "What held",
    "ran": "What was run",
    "arms": "Arms and instruments",
    "assay": "What the instruments can see",
    "eye": "The eye",
    "language": "The language model",
    "credit": "The credit",
    "scenes": "Scenes and answers",
    "more": "Where to look",
}


def render(
    summary: dict[str, Any], drawn: dict[str, dict[str, str]], forests: dict[str, str]
) -> str:
    """The page as HTML.

    drawn: for each base, ready pictures by name: SVG for `differences`, `curves`, `maps`, `drift`;
    data URIs for `gallery-<arm>` and those of `diffing.drawn`. forests: SVG of a paper's claims.
    """
    parts = {
        "claims": claims.section(summary, forests),
        "ran": _ran(summary),
        "arms": matrix.arms(summary, drawn),
        "assay": _per_base(summary, matrix.assay, drawn),
        "eye": _per_base(summary, moved.section, drawn),
        "language": _per_base(summary, diffing.section, drawn),
        "credit": _per_base(summary, _credit, drawn),
        "scenes": _per_base(summary, scenes.section, drawn),
        "more": where.look(summary),
    }
    body = "".join(
        f'<section id="{name}"><h2>{SECTIONS[name]}</h2>{part}</section>'
        for name, part in parts.items()
    )
    page = Template(Path(__file__).with_name("page.html").read_text())
    title = text(summary["study"]["title"])
    return page.substitute(title=title, body=f"{_head(summary)}<main>{body}</main>{FOOTER}")


FOOTER = """<footer>These figures judge a mechanism in a small synthetic world. They neither confirm
nor refute a paper on its own models. The same numbers: <code>summary.json</code>, and
<code>tables/</code> in Markdown and LaTeX.</footer>"""


def _head(summary: dict[str, Any]) -> str:
    told, study = summary["headline"], summary["study"]
    links = "".join(f'<a href="#{name}">{title}</a>' for name, title in SECTIONS.items())
    missing = ""
    if summary["missing"]:
        rows = "".join(f"<li><code>{text(m)}</code></li>" for m in summary["missing"])
        n = len(summary["missing"])
        what = "One part is" if n == 1 else f"{n} parts are"
        missing = (
            f'<div class="missing"><p>{what} not there; the rest of the page stands without.</p>'
            f"<details><summary>Which</summary><ul>{rows}</ul></details></div>"
        )
    return (
        f'<header><div class="kicker">sightline · study {text(study["name"])}</div>'
        f'<h1>{text(study["title"])}</h1><p class="lead">{text(told["sentence"])}</p>'
        f"{_noise(told)}{missing}<nav>{links}</nav></header>"
    )


def _noise(told: dict[str, Any]) -> str:
    if told["points"] is None:
        return ""
    rows = [
        [arm, markup.shown(f["sd"], True), markup.shown(f["points"])]
        for arm, f in told["by_arm"].items()
    ]
    what = (
        f"On each of the {len(told['seeds'])} seeds an arm's lenient VQA accuracy is taken minus "
        f"the base's on the same questions. Over seeds these differences have a standard deviation "
        f"of {told['sd']:.2f} points (pooled over arms). A two-sided paired t test at "
        f"{100 * told['confidence']:g} % confidence then finds a true difference of "
        f"{told['points']:.1f} points with a probability of {100 * told['power']:g} %, by the "
        "noncentral t distribution. The deviation is itself an estimate from few seeds; arm by arm:"
    )
    head = ["arm", "SD of arm − base", "smallest difference found"]
    return (
        f"<details><summary>How this is computed</summary><p>{text(what)}</p>"
        f"{plain(head, rows)}</details>"
    )


def _ran(summary: dict[str, Any]) -> str:
    ran, number_of = summary["ran"], colours(summary["ran"]["arms"])
    arms = [
        [
            markup.arm(name, number_of),
            text(f["method"]),
            text(", ".join(map(str, f["seeds"]))),
            text(", ".join(f"{k} = {v}" for k, v in f["overrides"].items()) or "–"),
        ]
        for name, f in ran["arms"].items()
    ]
    bases = "; ".join(f"{name} ({b['source']})" for name, b in ran["bases"].items())
    seeds = ", ".join(map(str, ran["seeds"]))
    lead = (
        f"Bases: {bases}. Seeds: {seeds}. Each seed has its own training items, evaluation draw "
        "and probe sets, shared by all arms of that seed; every arm starts from the same base."
    )
    parts = [
        f"<p>{text(lead)}</p>",
        markup.table(["arm", "method", "seeds", "differs by"], arms, "text"),
    ]
    for base in ran["bases"]:
        more = f" · {text(base)}" if len(ran["bases"]) > 1 else ""
        if rows := summary["costs"].get(base):
            parts.append(f"<h3>Budget and dose{more}</h3>")
            head = ["", *(markup.arm(name, number_of) for name in ran["arms"])]
            cells = [[text(r["label"]), *(text(cost(r, a)) for a in ran["arms"])] for r in rows]
            parts.append(markup.table(head, cells))
            parts.append(
                '<p class="caption">Mean over seeds. Relative change is the norm of the weights’ '
                "difference over the norm of the base’s; divergence is measured on frozen "
                "responses." + _elsewhere(rows) + "</p>"
            )
        for title, stage in (("Questions and pairs", "data"), ("The base itself", "card")):
            if rows := ran[stage].get(base):
                table = plain(["", "mean"], [[k, number(v)] for k, v in rows.items()])
                parts.append(f"<details><summary>{title}{more}</summary>{table}</details>")
        parts.append(_config(summary["configs"].get(base), more))
    return "".join(parts)


def _elsewhere(rows: list[dict[str, Any]]) -> str:
    """What is to be known of arms that were trained elsewhere."""
    arms = sorted({arm for row in rows for arm in row["untold"]})
    if not arms:
        return ""
    return (
        f" Trained elsewhere, at a cost that is not known: {text(', '.join(arms))}. Whether "
        "another arm does as well at equal cost is not testable against them."
    )


def _config(told: dict[str, Any] | None, more: str) -> str:
    if not told or not told["arms"]:
        return ""
    rows = [
        [key, *(("–" if row[a] is None else str(row[a])) for a in told["arms"])]
        for key, row in told["differ"].items()
    ]
    title = f"Training configurations, resolved: {told['equal']} keys alike, {len(rows)} differ"
    body = plain(["key", *told["arms"]], rows, "text")
    return f"<details><summary>{title}{more}</summary>{body}</details>"


def _per_base(summary: dict[str, Any], part: Any, drawn: dict[str, dict[str, str]]) -> str:
    parts = []
    for base in summary["ran"]["bases"]:
        more = f"<h3>Base: {text(base)}</h3>" if len(summary["ran"]["bases"]) > 1 else ""
        parts.append(more + part(summary, base, drawn.get(base, {})))
    return "".join(parts)


def _credit(summary: dict[str, Any], base: str, drawn: dict[str, str]) -> str:
    """What ties words to the image, what training logged, and what rules of credit came to."""
    tied = words.section(summary["words"][base])
    return tied + _training(summary, base, drawn) + credit.section(summary, base, drawn)


def _training(summary: dict[str, Any], base: str, drawn: dict[str, str]) -> str:
    without = _without(summary, base)
    if "curves" not in drawn:
        return f"<p>No training curves: {without}.</p>"
    return (
        "<h3>Learning curves</h3>"
        + markup.figure(drawn["curves"], CAPTIONS["curves"])
        + (f'<p class="caption">Not shown: {without}.</p>' if without else "")
    )


def _without(summary: dict[str, Any], base: str) -> str:
    """The arms and seeds that have no curves, and why."""
    told = summary["curves"][base]
    parts = []
    for arm, facts in summary["ran"]["arms"].items():
        have = {seed for lines in told.get(arm, {}).values() for seed in lines}
        lack = [str(seed) for seed in facts["seeds"] if seed not in have]
        if facts["method"] == "none":
            parts.append(f"{text(arm)} (does not train)")
        elif facts["method"] == "checkpoint":
            parts.append(f"{text(arm)} (trained elsewhere)")
        elif lack:
            which = "seed" if len(lack) == 1 else "seeds"
            parts.append(f"{text(arm)} on {which} {', '.join(lack)} (no curves.json there)")
    return "; ".join(parts)
