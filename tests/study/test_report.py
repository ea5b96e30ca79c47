"""The page from planted results: whole, with holes, with hostile answers, and as its twin."""

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from steps.schema import Base
from steps.study import collect, figures, page, report, stats

VOID = {"meta", "img", "br", "col", "link", "input", "hr"}


class Reader(HTMLParser):
    """Checks that elements close in order; collects tags, text and addresses."""

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.words, self.addresses, self.ids = [], set(), [], [], set()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.ids |= {value for name, value in attrs if name == "id"}
        self.addresses += [v for name, v in attrs if name in ("src", "href", "xlink:href")]
        assert not any(name.startswith("on") for name, _ in attrs), (tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.words.append(data)


def read(out):
    html = (out / "index.html").read_text()
    reader = Reader()
    reader.feed(html)
    assert reader.open == []
    return html, reader, json.loads((out / "summary.json").read_text())


def row(summary, metric, base="bundled"):
    rows = [r for group in summary["results"][base] for r in group["rows"]]
    return next(r for r in rows if r["metric"] == metric)


def test_headline_is_computed_from_the_seeds(whole):
    metrics, out, _, inputs = whole
    _, reader, summary = read(out)
    values = {
        arm: [
            json.loads((inputs["vqa"] / f"bundled/{arm}/seed{k}/metrics.json").read_text())
            for k in range(3)
        ]
        for arm in ("none", "continue", "sft", "dpo", "grpo")
    }
    lenient = {arm: [100 * v["vqa/lenient"] for v in values[arm]] for arm in values}
    differences = [
        [x - y for x, y in zip(lenient[arm], lenient["none"], strict=True)]
        for arm in values
        if arm != "none"
    ]
    wanted = stats.smallest(stats.pooled(differences), 3, 0.8, 0.95)
    assert metrics["report/smallest_difference"] == pytest.approx(wanted)
    sentence = (
        f"Demonstration: 3 seeds of one base; finds differences of {wanted:.1f} points or more at "
        "80 % power; the published ones are 1–3."
    )
    assert summary["headline"]["sentence"] == sentence
    assert sentence in reader.words


def test_results_hold_means_seeds_and_paired_intervals(whole):
    _, out, _, inputs = whole
    summary = read(out)[2]
    told = row(summary, "vqa/lenient")["arms"]["dpo"]
    own, sft = (
        [
            100
            * json.loads((inputs["vqa"] / f"bundled/{arm}/seed{k}/metrics.json").read_text())[
                "vqa/lenient"
            ]
            for k in range(3)
        ]
        for arm in ("dpo", "sft")
    )
    interval = stats.paired([a - b for a, b in zip(own, sft, strict=True)], 0.95)
    assert list(told["seeds"].values()) == pytest.approx(own)
    assert told["mean"] == pytest.approx(sum(own) / 3)
    minus = told["minus_sft"]
    assert [minus["mean"], minus["low"], minus["high"]] == pytest.approx(
        [interval.mean, interval.low, interval.high]
    )
    assert "minus_none" not in row(summary, "vqa/lenient")["arms"]["none"]


def test_derived_rows_and_baselines(whole):
    _, out, _, inputs = whole
    summary = read(out)[2]
    values = json.loads((inputs["vqa"] / "bundled/sft/seed1/metrics.json").read_text())
    gap = row(summary, "vqa/strict-lenient")["arms"]["sft"]["seeds"]["1"]
    assert gap == pytest.approx(100 * (values["vqa/strict"] - values["vqa/lenient"]))
    probe = json.loads((inputs["classify"] / "bundled/sft/seed1/metrics.json").read_text())
    labels = [probe[f"classify/asked/{c}/top1"] for c in ("shape", "color", "count")]
    tier = row(summary, "classify/asked")
    assert tier["arms"]["sft"]["seeds"]["1"] == pytest.approx(100 * sum(labels) / 3)
    assert set(tier["baselines"]) == {"random", "pixels", "chance"}
    assert tier["baselines"]["chance"]["mean"] == pytest.approx(20)
    behind = row(summary, "proj/classify/asked")
    assert set(behind["baselines"]) == {"chance"}, "a random tower has no projector"
    maps = row(summary, "segment/texture/miou")
    assert set(maps["baselines"]) == {"random", "pixels"}


def test_every_number_of_the_tables_is_in_the_summary(whole):
    out = whole[1]
    html, _, summary = read(out)
    rows = [r for group in summary["results"]["bundled"] for r in group["rows"]]
    means = [float(m.replace("−", "-")) for m in re.findall(r'<b class="mean">([^<]+)</b>', html)]
    known = [told["mean"] for r in rows for told in [*r["arms"].values(), *r["baselines"].values()]]
    assert len(means) == len(known) > 150
    for mean in means:
        assert min(abs(mean - other) for other in known) <= 0.0501
    strips = re.findall(r'<svg class="strip.*?</svg>', html)
    dots = [pair for one in strips for pair in re.findall(r"(\d+): (-?[\d.]+)", one)]
    shown = [pair for r in rows for told in r["arms"].values() for pair in told["seeds"].items()]
    assert len(dots) == len(shown) == sum(one.count("<circle") for one in strips)
    assert sorted(dots) == sorted((seed, f"{value:.2f}") for seed, value in shown)


def test_page_stands_alone(whole):
    out = whole[1]
    html, reader, _ = read(out)
    assert "script" not in reader.tags
    for address in reader.addresses:
        assert address.startswith(("data:image/png;base64,", "#")), address[:60]
        if address.startswith("#"):
            assert address[1:] in reader.ids
    for inside in re.findall(r"url\(#([^)]+)\)", html):
        assert inside in reader.ids
    assert not re.search(r"https?://|@import|url\((?!#)", html)
    assert len(html) < 3_000_000
    assert "prefers-color-scheme: dark" in html and "@media print" in html


def test_figures_tables_and_pictures_are_written(whole):
    out = whole[1]
    pictures = {path.name for path in (out / "figures").glob("*.png")}
    wanted = {"differences-bundled.png", "curves-bundled.png", "maps-bundled.png"}
    assert pictures == wanted | {"rotation-bundled-seed0.png"}
    html, _, summary = read(out)
    assert html.count('class="scene"') == len(summary["samples"]["bundled"]) == 6
    assert html.count("<figure>") == 4
    table = (out / "tables" / "results-bundled.md").read_text()
    mean = row(summary, "vqa/lenient")["arms"]["grpo"]["mean"]
    assert f"{mean:.1f}; − none: " in table
    assert (
        "| learning_rate | 0.0003 | 0.0003 | 3e-05 | 0.0001 |"
        in (out / "tables" / "configs-bundled.md").read_text()
    )


def test_maps_are_cut_where_their_sheet_has_them(whole, tmp_path):
    names = {f"segment/{kind}/miou" for kind in ("texture", "photos", "shape")}
    assert figures.mapped(names) == ["shape", "texture"]  # photos have a sheet of no kind
    _, _, params, inputs = whole
    sheets = {arm: inputs["segment"] / f"bundled/{arm}/seed0/maps.png" for arm in params.arms}
    wrong = ["shape", "texture", "photos"]
    assert figures.maps(sheets, wrong, params, "bundled", tmp_path) is None
    assert figures.maps(sheets, wrong[:2], params, "bundled", tmp_path)


def test_tables_in_latex_hold_nothing_that_latex_would_not_read(whole):
    for path in (whole[1] / "tables").glob("*.tex"):
        text = path.read_text()
        assert text.isascii(), [sign for sign in text if not sign.isascii()]
        assert not re.search(r"(?<!\\)[#%_]", text), path
        rows = [line for line in text.splitlines() if line.endswith(r" \\") and " & " in line]
        assert len({line.count(" & ") for line in rows}) == (path.name != "claims.tex"), path
    names = {path.name for path in (whole[1] / "tables").glob("*.tex")}
    assert names == {"claims.tex", "results-bundled.tex", "costs-bundled.tex"}


def test_curves_and_configs(whole):
    summary = read(whole[1])[2]
    lines = summary["curves"]["bundled"]
    assert list(lines) == ["continue", "sft", "dpo", "grpo"]
    assert [step for step, _ in lines["dpo"]["loss"]["0"]] == list(range(0, 75, 5))
    assert set(lines["grpo"]["reward"]) == {"0", "1", "2"}
    kept = json.loads((whole[3]["model"] / "bundled/sft/seed2/curves.json").read_text())
    assert lines["sft"]["grad_norm"]["2"] == kept["grad_norm"]
    assert "Not shown: none (does not train)." in read(whole[1])[1].words
    config = summary["configs"]["bundled"]
    assert config["equal"] == 2 and list(config["differ"]) == ["learning_rate"]


def test_samples_show_where_arms_differ(whole):
    told = read(whole[1])[2]["samples"]["bundled"]
    assert len({s["kind"] for s in told}) == len(told)
    for sample in told:
        assert len({answer["lenient"] for answer in sample["answers"].values()}) == 2


def test_words_are_shaded_by_rank_and_marked_where_they_depend(whole):
    html, _, summary = read(whole[1])
    told = summary["words"]["bundled"]
    assert [answer["kind"] for answer in told] == ["color", "shape"]
    words = told[0]["words"]
    assert [w["word"] for w in words] == ["it", "is", "red"]
    assert [w["depends"] for w in words] == [False, False, True]
    assert [w["density"] for w in words] == [0.5, 0.0, 1.0]
    assert [w["entropy"] for w in words] == [0.0, 0.0, 1.0]  # equal ones have none below them
    assert '<span class="s9"><u>red</u></span>' in html and '<span class="s0">is</span>' in html


def test_claims_have_a_picture_and_the_questions_behind_them(study):
    params, inputs, out = study(seeds=(0, 1))
    folder = Path(__file__).parents[2] / "workflow" / "claims"
    report.run(params, inputs | {"claims": folder}, out)
    html, reader, summary = read(out)
    assert {"claims-pivot.png", "claims-credit.png"} <= {p.name for p in out.glob("figures/*")}
    both = [b for b in summary["behind"] if (b["arm"], b["other"]) == ("dpo", "sft")]
    told = next(b for b in both if b["measure"] == "lenient" and b["kind"] is None)
    tables = {
        (arm, seed): pd.read_parquet(inputs["vqa"] / f"bundled/{arm}/seed{seed}/items.parquet")
        for arm in ("dpo", "sft")
        for seed in (0, 1)
    }
    for seed in (0, 1):
        gap = tables["dpo", seed]["lenient"] - tables["sft", seed]["lenient"]
        counts = {"questions": 48, "gained": int((gap > 0).sum()), "lost": int((gap < 0).sum())}
        assert told["seeds"][str(seed)] == counts
    for side, right in (("gained", "dpo"), ("lost", "sft")):
        for one in told[side]:
            assert {a for a, v in one["answers"].items() if v["lenient"]} == {right}
    strict = next(b for b in both if b["measure"] == "strict" and b["kind"] is None)
    gap = tables["dpo", 0]["strict"] - tables["sft", 0]["strict"]
    assert strict["seeds"]["0"]["gained"] == int((gap > 0).sum())
    assert "behind-dpo-sft-strict" in reader.ids and 'href="#behind-dpo-sft-strict"' in html
    links = {a[1:] for a in reader.addresses if a.startswith("#")}
    assert links <= reader.ids


def test_provenance(whole):
    _, reader, summary = read(whole[1])
    told = summary["provenance"]
    stages = "base items pairs baselines planted compare none sft dpo grpo".split()
    stages += "vqa sharpen tokens classify segment".split()
    assert told["code"] == {stage: [f"c0de-{stage}"] for stage in sorted(stages)}
    assert told["versions"]["torch"] == ["2.13.0"]
    assert told["params_read"] == ["vqa"]
    shown = {told["params_sha256"], "c0de-grpo", "2.13.0", "mlflow.source.git.commit"}
    assert shown <= set(reader.words)


def test_the_event_log_beside_the_results_is_not_read(study):
    params, inputs, _ = study(seeds=(0,))
    before = report.summarise(params, collect.collect(params, inputs), {})
    events = inputs["base"].parent / ".events"
    events.mkdir()
    start = {"event": "start", "stage": "sft", "base": "bundled", "arm": "sft", "seed": 0}
    start |= {"attempt": "20300101T000000000000-1", "commit": "c0ffee" * 6 + "c0ff"}
    point = {"event": "metric", "name": "loss", "value": 9.0, "step": 1}
    lines = [start, point, {"event": "finish", "status": "finished"}]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (events / "sft-bundled-sft-0-20300101T000000000000-1.jsonl").write_text(text)
    after = report.summarise(params, collect.collect(params, inputs), {})
    assert after == before and after["curves"]["bundled"]["sft"]["loss"]


@pytest.mark.slow
def test_same_inputs_give_the_same_bytes(whole, tmp_path):
    _, out, params, inputs = whole
    again = tmp_path / "again"
    again.mkdir()
    report.run(params, inputs, again)
    files = sorted(p.relative_to(out) for p in out.rglob("*") if p.is_file())
    assert files == sorted(p.relative_to(again) for p in again.rglob("*") if p.is_file())
    for name in files:
        assert (out / name).read_bytes() == (again / name).read_bytes(), name


def test_answers_from_a_model_are_only_text(study):
    params, inputs, out = study(seeds=(0, 1), hostile=True)
    params.study.title = "A <b>bold</b> & dangerous title"
    report.run(params, inputs, out)
    html, reader, summary = read(out)
    answer = summary["samples"]["bundled"][0]["answers"]["sft"]["raw"]
    assert answer == "<script>alert('x')</script>"
    assert "script" not in reader.tags and answer in reader.words
    assert summary["words"]["bundled"][0]["words"][2]["word"] == answer
    assert "A <b>bold</b> & dangerous title" in reader.words and "$" not in html


def test_missing_parts_are_named_and_the_rest_stands(study):
    params, inputs, out = study()
    shutil.rmtree(inputs["vqa"] / "bundled/grpo/seed2")
    shutil.rmtree(inputs["segment"] / "bundled/dpo")
    (inputs["classify"] / "bundled/sft/seed0/metrics.json").write_text("{torn")
    (inputs["vqa"] / "bundled/none/seed0/items.parquet").unlink()
    shutil.rmtree(inputs.pop("compare"))
    (inputs["model"] / "bundled/sft/seed1/curves.json").unlink()
    for seed in range(3):
        (inputs["model"] / f"bundled/dpo/seed{seed}/curves.json").write_text("{torn")
    metrics = report.run(params, inputs, out)
    html, reader, summary = read(out)
    named = ["vqa/bundled/grpo/seed2", "segment/bundled/dpo/seed1", "classify/bundled/sft/seed0"]
    named += ["model/bundled/sft/seed1/curves.json", "model/bundled/dpo/seed2/curves.json"]
    assert {*named, "compare/bundled/seed0"} <= set(summary["missing"])
    assert any("items.parquet" in line for line in summary["missing"])
    assert all(name in reader.words for name in named)
    assert metrics["report/missing"] == len(summary["missing"]) == 11
    assert summary["headline"]["seeds"] == [0, 1], "only seeds that every arm has"
    assert row(summary, "vqa/lenient")["arms"]["grpo"]["minus_none"]["n"] == 2
    assert "dpo" not in row(summary, "segment/shape/miou")["arms"] and "not there" in html
    assert list(summary["curves"]["bundled"]) == ["continue", "sft", "grpo"]
    without = (
        "Not shown: none (does not train); sft on seed 1 (no curves.json there); "
        "dpo on seeds 0, 1, 2 (no curves.json there)."
    )
    assert without in reader.words and "No dictionaries were compared" in html


def test_a_base_without_a_model_from_before_says_so_and_lacks_nothing(study):
    params, inputs, out = study()
    params.bases = {"bundled": Base(source="hub", path="a/name")}
    shutil.rmtree(inputs.pop("compare"))
    metrics = report.run(params, inputs, out)
    _, reader, summary = read(out)
    assert summary["missing"] == [] and metrics["report/missing"] == 0
    assert "Not measured: this base has no model from before visual tuning." in reader.words


def test_nothing_at_all_still_gives_a_page(whole, tmp_path):
    out = tmp_path
    metrics = report.run(whole[2], {}, out)
    html, reader, summary = read(out)
    assert metrics["report/seeds"] == 0 and "report/smallest_difference" not in metrics
    assert "cannot be computed" in summary["headline"]["sentence"]
    assert any("No instrument has finished" in words for words in reader.words)
    assert "No training curves: none (does not train); continue on seeds 0, 1, 2" in html


def test_one_seed_says_that_it_cannot_tell(study):
    params, inputs, _ = study(seeds=(4,))
    summary = report.summarise(params, collect.collect(params, inputs), {})
    assert summary["headline"]["sentence"] == (
        "Demonstration: 1 seed of one base; what differences it finds at 80 % power cannot be "
        "computed from fewer than two seeds; the published ones are 1–3."
    )
    assert summary["headline"]["points"] is None and summary["missing"] == []
    minus = row(summary, "vqa/lenient")["arms"]["sft"]["minus_none"]
    assert (minus["low"], minus["high"], minus["n"]) == (None, None, 1)
    assert summary["headline"]["sentence"] in page.render(summary, {}, {})


def test_two_bases_are_averaged_within_a_seed(study):
    params, inputs, _ = study(bases=("bundled", "other"))
    summary = report.summarise(params, collect.collect(params, inputs), {})
    assert "3 seeds of 2 bases" in summary["headline"]["sentence"]
    gaps = []
    for seed in range(3):
        told = [row(summary, "vqa/lenient", base)["arms"] for base in ("bundled", "other")]
        gaps.append(sum(t["dpo"]["seeds"][seed] - t["none"]["seeds"][seed] for t in told) / 2)
    assert summary["headline"]["by_arm"]["dpo"]["sd"] == pytest.approx(stats.deviation(gaps))
    assert page.render(summary, {}, {}).count("<h3>Base: other</h3>") == 6


def test_an_arm_trained_elsewhere_has_no_budget_and_none_is_made_up(study):
    from steps import manifest
    from steps.schema import Arm

    params, inputs, out = study()
    params.arms["sft"] = Arm(method="checkpoint", path="runs/<b>mine")
    for seed in params.seeds:
        folder = inputs["model"] / f"bundled/sft/seed{seed}"
        told = json.loads((folder / "metrics.json").read_text())
        dose = {name: value for name, value in told.items() if name.startswith("dose/")}
        (folder / "metrics.json").write_text(json.dumps(dose))
        (folder / "curves.json").unlink()
        facts = json.loads((folder / "manifest.json").read_text())
        facts.pop("files")
        manifest.write(folder, facts)
    report.run(params, inputs, out)
    summary = json.loads((out / "summary.json").read_text())
    rows = {row["metric"]: row for row in summary["costs"]["bundled"]}
    assert "sft" not in rows["budget/flops"]["arms"] and "sft" in rows["dose/kl"]["arms"]
    assert not any("curves.json" in said for said in summary["missing"])
    html = (out / "index.html").read_text()
    assert "<td>not testable</td>" in html and "sft (trained elsewhere)" in html
    assert "at equal cost is not testable" in html and "runs/<b>mine" not in html
    assert "not testable" in (out / "tables/costs-bundled.md").read_text()
