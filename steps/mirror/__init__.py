"""The mirror: MLflow, and only here. It carries the stages' event logs over, each event once.

`python -m steps.mirror --root results/<study>` is what stages start (steps/track.py),
`--all` is `make sync`, `--ui` is `make ui`. One experiment a study; one parent run for each base,
arm and seed; the stages nested below it, found by the tag `sightline.key`. A new attempt at a
stage supersedes the last: that run is tagged `sightline.superseded` and deleted, in MLflow's way
(listed under "Deleted", restorable until `mlflow gc`). A killed stage's run is closed as KILLED.
Runs' names and descriptions are in about.py; the study's own run bears its report (shown.py).
"""
