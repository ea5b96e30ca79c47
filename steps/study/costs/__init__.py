"""What a study will cost, before anything runs: `python -m steps plan <study>`.

formulas    FLOPs and bytes of a model's passes, each with its source
shapes      a model's sizes from its configuration, without weights
talk        how long questions and answers are, from a few that are drawn
work        what a job does, in the units that a device's speed is told in
data models training encoder behaviour diffing    a stage's work, from its params: one wing each
table       every stage's function
memory      what a training or reading process holds
machine     seconds of a job's work, on processors or on a GPU of gpus.yaml
calibrate   what the records of finished studies say of this machine
graph       jobs, what waits for what, and how they fit on devices
forecast    all of it for one study, and what cannot fit
shown       the same as text
"""
