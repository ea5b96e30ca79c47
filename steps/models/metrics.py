"""What the stages of this wing measure; see `steps.study.glossary` for how it is written."""

BASE = {"parameters": "count: numbers in the base's weights, all parts together"}
RECIPE = {"loss": "nats: training loss, mean over the last 100 steps"}
TUNED = {
    "tuned/{seen,told,shuffled}/loss": "nats: training loss a token, mean over the last 100 steps",
    "tuned/{seen,told,shuffled}/loss_image": "nats: on unseen scenes, behind the scene's own image",
    "tuned/{seen,told,shuffled}/loss_grey": "nats: on the same, behind a grey image",
}
METRICS = {
    **dict.fromkeys(("base", "hub", "trained"), BASE),
    **dict.fromkeys(("tower", "language", "align", "instruct"), RECIPE),
    "tuned": TUNED,
}
"""By stage, each metric's pattern, its unit and what it means."""
