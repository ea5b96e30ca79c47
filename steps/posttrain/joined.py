"""A base of parts that others trained: an encoder, a language model, a projector that learns here.

Two parts, by TRL's supervised fine-tuning on the stage-1 questions of the study's first seed (with
questions of one's own, on those that arms train on): the projector alone (`join.align`), whose end
is the *before* of model diffing, then what `join.parts` names (`join.tune`), with adapters where
`train.lora` says so. Its end is where all arms start.
"""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from steps import manifest, ranks
from steps.posttrain import history, questions, save, sft

ALIGNED = ["projector"]


def run(params: Any, inputs: dict[str, Path], out: Path) -> dict[str, float]:
    """Stage `joined`: put a base together; writes `aligned` and `instruct` as stage `base` does.

    inputs: `items` (the first seed's questions). What the parts were is kept in source.json: their
    folders and the folders' hashes.
    """
    from steps.models import hub, join
    from steps.models.base import link

    told, fresh, base = params.join, out / "fresh", params.bases[params.run.base]
    parts = {name: Path(getattr(base, name)) for name in ("tower", "language")}
    model, processor = join.joined(parts["tower"], parts["language"], seed=0)
    model.save_pretrained(fresh)
    processor.save_pretrained(fresh)
    hub.take(str(fresh), None, out / "instruct")
    shutil.rmtree(fresh)
    points = {"align": _trained(params, inputs, out, ALIGNED, "align")}
    link(out / "instruct", out / "aligned")
    if told.tune.steps:
        points["tune"] = _trained(params, inputs, out, told.parts, "tune")
    (out / "losses.json").write_text(
        json.dumps({name: [p["loss"] for p in part] for name, part in points.items()})
    )
    source = {
        name: {"path": str(path), "sha256": manifest.plain(path)} for name, path in parts.items()
    }
    (out / "source.json").write_text(json.dumps(source, indent=1) + "\n")
    return {
        f"{name}/{key.removeprefix('train/')}": value
        for name, part in points.items()
        for key, value in history.ends(part).items()
    }


def _trained(
    params: Any, inputs: dict[str, Path], out: Path, parts: list[str], name: str
) -> list[dict[str, float]]:
    """Train parts of the model in `out/instruct` in place; returns the logged points."""
    part, train, run = getattr(params.join, name), params.train, replace(params.run, seed=0)
    if run.checkpoints is not None:
        run = replace(run, checkpoints=run.checkpoints / name)
        run.checkpoints.mkdir(exist_ok=True)
    if name == "align":  # the projector, whole, at its own rate
        lora = train.lora.model_copy(update={"rank": 0})
        train = train.model_copy(update={"lora": lora, "rates": None})
    else:
        train = train.model_copy(update={"rates": params.join.rates})
    own = SimpleNamespace(train=train, run=run, part=part, parts=parts)
    points = ranks.spread(_train, own, inputs, out)
    shutil.rmtree(out / "instruct")
    (out / f".{run.stage}").rename(out / "instruct")
    return points


def _train(params: Any, inputs: dict[str, Path], out: Path) -> Any:
    """What each of the stage's processes does; the first writes the model and gives points."""
    told = params.part
    model, processor = save.begin(out, params.parts)
    # Questions of one's own have no stage 1.
    own = "stage1" if (inputs["items"] / "stage1.parquet").is_file() else "train"
    items = questions.table(inputs["items"], own)
    images = inputs["items"] / f"{own}_images.npy"
    points, trainer, _ = sft.fit(
        model,
        processor,
        items,
        images,
        told.steps,
        told.learning_rate,
        params,
        params.parts,
        key="join.align.learning_rate, or that of join.tune",
    )
    trained = save.whole(trainer, out / "instruct")
    if trained is None:
        return []
    made = out / f".{params.run.stage}"
    made.mkdir()
    save.model(trained, out, made)
    return points
