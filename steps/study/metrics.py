"""What the stage `report` measures; see `steps.study.glossary` for how it is written."""

REPORT = {
    "report/seeds": "count: seeds that the headline is over",
    "report/missing": "count: results and files that the page names as missing",
    "report/smallest_difference": "number: smallest difference that the study finds, in points",
    "claims/{replicated,equivalent,explained,contradicted,inconclusive,not_testable}": (
        "count: claims with this verdict"
    ),
    "reuse/cost/{samples,tokens,flops}": (
        "ratio: stage 1 and the arm's own training over the encoder's pre-training; formed here"
    ),
    "<base>/<arm>/vqa_lenient": "share: an arm's right answers, mean over seeds",
}
METRICS = {"report": REPORT}
"""By stage, each metric's pattern, its unit and what it means."""
