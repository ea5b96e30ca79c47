"""Stage `report`: the whole study on one page, from the files that its stages left behind.

It shows what is there and names what is not: verdicts of the claims in workflow/claims first, then
everything that they and others rest on, and how large a difference would have to be to be seen.
"""

import json
from pathlib import Path
from typing import Any

from steps import spool
from steps.schema import seeds_of
from steps.study import (
    assay,
    behind,
    collect,
    contrasts,
    diffing,
    figures,
    moved,
    page,
    reused,
    tables,
    words,
    written,
)
from steps.study.claims import forest, judge, registry
from steps.study.samples import samples
from steps.track import log

FOLDERS = {
    "report": "this page; summary.json, tables and figures with the same numbers",
    "items/seed<k>": "questions: training, tuning, judging",
    "probes/seed<k>": "labelled scenes for the probes",
    "base/<base>": "the base model, before (aligned) and after (instruct) it learnt to answer",
    "pairs/<base>/seed<k>": "preference pairs, sampled from the base",
    "model/<base>/<arm>/seed<k>": "the post-trained model, a Hugging Face folder, and curves.json",
    "extract/<base>/<arm>/seed<k>": "its vision tower alone, a Hugging Face folder",
    "vqa/<base>/<arm>/seed<k>": "every answer, in items.parquet",
    "sharpen/<base>/<arm>/seed<k>": "answers drawn by chance, in items.parquet",
    "tokens/<base>/<arm>/seed<k>": "what ties each word to the image, in tokens.parquet",
    "gaze/<base>/<arm>/seed<k>": "what each head looks at, and what it can do without",
    "swap/<base>/<arm>/seed<k>": "the base's parts and the arm's recombined, answer by answer",
    "forget/<base>/<arm>/seed<k>": "labels named by the model and by its eye's probe, item by item",
    "logged/<base>/<arm>/seed<k>": "logged answers to benchmarks, rescored, in items.parquet",
    "drift/<base>/<arm>/seed<k>": "the tower beside the base's: layers.parquet, drift.png",
    "localise/<base>/<arm>/seed<k>": "maps of gradients, their scores, gallery.png",
    "reuse/<base>/<arm>/seed<k>": "its tower in a new model: answers in items.parquet, losses",
    "newcomers/<base>/seed<k>": "the same of the original tower, and of larger ones",
    "cost/<base>": "what the recipe's parts cost, in images, tokens and operations",
    "classify/<base>/<arm>/seed<k>": "classification probes, item by item",
    "segment/<base>/<arm>/seed<k>": "segmentation probes, item by item, and maps.png",
    "baselines/<base>/seed<k>": "the same probes on the original tower, a random one and pixels",
    "harvest/<base>/seed<k>": "activations of the language model, and an index of their tokens",
    "dictionary/<base>/seed<k>": "dictionaries in SAELens' layout, a folder a site and name",
    "compare/<base>/seed<k>": "how far features turned in both orders, in features.parquet",
    "planted/seed<k>": "the same method on turns that are known",
    "quality/<base>/seed<k>": "what answers are worth with reconstructions in place",
    "stability/<base>": "features matched between seeds",
    "tuned/<base>": "control models: tuned on images, on words, on other scenes' images",
    "controls/<base>/seed<k>": "how far features turned in these",
    "turned/<base>/<arm>/seed<k>": "how far features turned in an arm, in turned.parquet",
    "spatial/<base>/seed<k>": "which features tell relations, in spatial.parquet",
    "heads/<base>/seed<k>": "which heads drive them, in heads.parquet",
    "intervene/<base>/seed<k>": "features taken away and added, in effects.parquet",
    "atlas/<base>/seed<k>": "pages of features: index.html",
}


def run(params: Any, inputs: dict[str, Path], out: Path) -> dict[str, float]:
    """Write index.html, summary.json, tables/*.md and *.tex, and figures/*.png to `out`.

    params: study, seeds, bases, arms, report. inputs: the study's folders by stage (`vqa` is
    results/<study>/vqa, ...), and `claims`; any may be absent. Returns the smallest difference
    found (points; left out for one seed), seeds, missing parts, each arm's primary metric, and how
    many claims have each verdict.
    """
    inputs = {name: Path(path) for name, path in inputs.items()}
    found = collect.collect(params, inputs)
    reused.price(found)
    papers = registry.read(inputs["claims"]) if "claims" in inputs else {}
    summary, drawn = summarise(params, found, papers), {}
    forests = forest.forests(summary["claims"], out / "figures")
    if "photos" in inputs:
        summary["provenance"]["photographs"] = json.loads(inputs["photos"].read_text())
    for base in params.bases:
        drawn[base] = draw(params, found, summary, base, out / "figures")
        summary["diff"][base]["atlas"] = diffing.atlases(found, base, out)
    written.write(summary, out / "tables")
    (out / "summary.json").write_text(json.dumps(summary, indent=1, ensure_ascii=False) + "\n")
    (out / "index.html").write_text(page.render(summary, drawn, forests), encoding="utf-8")
    for path in sorted((out / "figures").glob("*.png")):
        log.figure(path)
    log.text(summary["headline"]["sentence"])
    return _metrics(summary)


def summarise(
    params: Any, found: collect.Found, papers: dict[str, registry.Paper]
) -> dict[str, Any]:
    """Everything that the page says, as plain values. papers: whose claims are judged."""
    study, told, curves = params.study.name, {}, {}
    missing = list(found.missing)
    results = {base: tables.results(found, params, base) for base in params.bases}
    controls = {base: assay.told(groups, params) for base, groups in results.items()}
    for base in params.bases:
        told[base], lacks = samples(found, params, base)
        curves[base], gaps = collect.curves(found, params, base)
        missing += lacks + gaps
    return {
        "study": {"name": study, "title": params.study.title},
        "headline": tables.headline(found, params),
        "claims": judge.told(found, params, papers),
        "missing": missing,
        "ran": {
            "bases": {
                name: {"source": base.source, "diffed": base.diffed}
                for name, base in params.bases.items()
            },
            "arms": {
                name: {
                    "method": arm.method,
                    "seeds": seeds_of(params, name),
                    "control": arm.seeds != "all",
                    "overrides": arm.overrides,
                }
                for name, arm in params.arms.items()
            },
            "seeds": list(params.seeds),
            "data": {base: _means(found, ("items", "pairs"), base) for base in params.bases},
            "card": {base: _means(found, ("base",), base) for base in params.bases},
        },
        "costs": {base: tables.costs(found, params, base) for base in params.bases},
        "configs": {base: collect.configs(found, params, base) for base in params.bases},
        "results": results,
        "assay": {
            base: {"rows": rows, "blind": assay.blind(rows, params)}
            for base, rows in controls.items()
        },
        "curves": curves,
        "credit": {b: contrasts.told(found, curves[b], params, b) for b in params.bases},
        "samples": told,
        "behind": behind.told(found, params, behind.pairs(papers, params)),
        "words": {base: words.told(found, params, base) for base in params.bases},
        "diff": {base: diffing.told(found, params, base) for base in params.bases},
        "mlflow": _mlflow(params),
        "folders": [[f"results/{study}/{folder}", what] for folder, what in FOLDERS.items()],
        "provenance": collect.provenance(found),
    }


def _means(found: collect.Found, stages: tuple[str, ...], base: str) -> dict[str, float]:
    """Each metric of some stages, mean over seeds."""
    values: dict[str, list[float]] = {}
    for (stage, b, _, _), metrics in found.metrics.items():
        if stage in stages and b in (None, base):
            for name, value in metrics.items():
                values.setdefault(name, []).append(value)
    return {name: sum(v) / len(v) for name, v in sorted(values.items())}


def _mlflow(params: Any) -> dict[str, Any]:
    study = params.study.name
    arm = next((a for a in params.arms if a != "none"), "none")
    base, seed = next(iter(params.bases)), params.seeds[0]
    stage = spool.key(study, "vqa", base, arm, seed)
    runs = [
        f"tags.`sightline.key` = '{spool.key(study, 'group', base, arm, seed)}'"
        for base in params.bases
        for arm in params.arms
        for seed in seeds_of(params, arm)
    ]
    searches = [
        ["one arm on one seed", runs[0]],
        ["one of its stages", f"tags.`sightline.key` = '{stage}'"],
        ["one stage of all arms", f"tags.study = '{study}' and tags.stage = 'vqa'"],
        ["all seeds of one arm", f"tags.study = '{study}' and tags.arm = '{arm}'"],
    ]
    return {"searches": searches, "runs": runs}


def draw(
    params: Any, found: collect.Found, summary: dict[str, Any], base: str, folder: Path
) -> dict[str, str]:
    """A base's pictures: PNG files in `folder`, and what the page holds, by name."""
    groups = summary["results"][base]
    drawn = {
        "differences": figures.differences(groups, params, base, folder),
        "curves": figures.curves(summary["curves"][base], params, base, folder),
        "credit": figures.credit(summary["credit"][base], summary["curves"][base], base, folder),
        "drift": moved.drift(found, params, base, folder),
        **moved.galleries(found, params, base, folder),
    }
    for seed in params.seeds:
        places = {arm: found.folders.get(("segment", base, arm, seed)) for arm in params.arms}
        sheets = {a: f / "maps.png" for a, f in places.items() if f and (f / "maps.png").is_file()}
        if sheets:
            kinds = figures.mapped(found.names(base))
            drawn["maps"] = figures.maps(sheets, kinds, params, base, folder)
            break
    drawn |= diffing.drawn(found, base, folder)
    return {name: picture for name, picture in drawn.items() if picture}


def _metrics(summary: dict[str, Any]) -> dict[str, float]:
    headline = summary["headline"]
    metrics = {"report/seeds": len(headline["seeds"]), "report/missing": len(summary["missing"])}
    if headline["points"] is not None:
        metrics["report/smallest_difference"] = headline["points"]
    for row in summary["claims"]["rows"]:
        name = f"claims/{row['verdict'].replace(' ', '_')}"
        metrics[name] = metrics.get(name, 0) + 1
    for base, groups in summary["results"].items():
        for row in (row for group in groups for row in group["rows"]):
            if row["metric"] == headline["metric"]:
                metrics |= {f"{base}/{a}/vqa_lenient": t["mean"] for a, t in row["arms"].items()}
    return metrics
