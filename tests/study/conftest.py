"""A finished study's folders with plausible random values: five arms, three seeds, one base."""

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from steps import manifest
from steps.encoder import maps
from steps.schema import Arm, Base

KINDS = ("color", "shape", "size", "count", "existence", "relation", "glyph", "fact")
FORMS = ("rationale", "answer", "word")
GAIN = {"none": 0.0, "continue": 0.003, "sft": 0.02, "dpo": -0.015, "grpo": 0.03}
TIERS = {"asked": ["shape", "color", "count"], "captions": ["ground"], "never_named": ["texture"]}
SHAPES = ["square", "disc", "triangle"]
CURVES = {
    "sft": ["loss", "grad_norm", "mean_token_accuracy"],
    "dpo": ["loss", "rewards/accuracies", "rewards/margins", "grad_norm"],
    "grpo": ["loss", "reward", "completions/mean_length", "completions/clipped_ratio"],
}
SCRIPT = "<script>alert('x')</script>"


def settings(seeds=(0, 1, 2), arms=None, bases=("bundled",)):
    """What the stage is given, as the contract gives it."""
    methods = {"none": "none", "continue": "sft", "sft": "sft", "dpo": "dpo", "grpo": "grpo"}
    arms = arms or {a: Arm(method=m) for a, m in methods.items()}
    arms["continue"] = Arm(method="sft", items="stage1")
    return SimpleNamespace(
        study=SimpleNamespace(name="planted", title="What post-training does to a model's sight"),
        seeds=list(seeds),
        bases={name: Base(source="bundled") for name in bases},
        arms=arms,
        instruments=["vqa", "sharpen", "tokens", "classify", "segment", "compare"],
        data=SimpleNamespace(source="world"),
        world=SimpleNamespace(sprites="drawn"),
        diff=SimpleNamespace(seeds=[seeds[0]], sites=["residual"], layers=[2]),
        contrasts=[],
        report=SimpleNamespace(samples=6, confidence=0.95, power=0.8),
        run=SimpleNamespace(study="planted", stage="report", base=None, arm=None, seed=None),
    )


def finish(folder, metrics, files=None, stage=None):
    """A folder as a stage leaves it; stage: its name, where the folder has another."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in (files or {}).items():
        (folder / name).write_text(text)
    (folder / "metrics.json").write_text(json.dumps(metrics))
    stage = stage or next(p.name for p in folder.parents if p.parent.name == "planted")
    facts = {"stage": stage, "code": f"c0de-{stage}", "params": {"vqa": {"batch": 64}}}
    manifest.write(folder, facts | {"versions": {"python": "3.11.2", "torch": "2.13.0"}})


def vqa(gain, noise, rng):
    """Metrics as the stage `vqa` names them."""
    base = dict(zip(KINDS, (0.82, 0.66, 0.8, 0.6, 0.84, 0.5, 0.55, 0.62), strict=True))
    kinds = {
        k: float(np.clip(v + gain + noise + rng.normal(0, 0.015), 0, 1)) for k, v in base.items()
    }
    lenient = float(np.mean(list(kinds.values())))
    metrics = {"vqa/lenient": lenient, "vqa/strict": lenient - 0.02 * rng.random()}
    metrics |= {f"vqa/kind/{k}/lenient": v for k, v in kinds.items()}
    metrics |= {f"vqa/form/{f}/lenient": lenient + rng.normal(0, 0.02) for f in FORMS}
    metrics |= {f"vqa/style/{s}/lenient": lenient + rng.normal(0, 0.02) for s in "ab"}
    metrics |= {"vqa/ill_formed": 0.02 * rng.random(), "vqa/novel/lenient": lenient - 0.08}
    metrics |= {"vqa/grey/lenient": 0.31 + rng.normal(0, 0.01), "vqa/margin": 1.4 + 10 * gain}
    return metrics | {"vqa/swapped/lenient": 0.3 + rng.normal(0, 0.01)}


def probes(prefix, level, rng):
    """Metrics as the encoder's probes name them."""
    metrics = {}
    for tier, labels in TIERS.items():
        for label in labels:
            key = f"{prefix}classify/{tier}/{label}"
            metrics |= {f"{key}/top1": level + rng.normal(0, 0.01), f"{key}/chance": 0.2}
    for noise in ("clean", "noisy"):
        key = f"{prefix}classify/digits/{noise}"
        metrics |= {f"{key}/top1": level - 0.3 + rng.normal(0, 0.01), f"{key}/chance": 0.1}
    for kind in ("shape", "texture"):
        metrics[f"{prefix}segment/{kind}/miou"] = level - 0.4 + rng.normal(0, 0.01)
        metrics[f"{prefix}segment/{kind}/miou_objects"] = level - 0.5 + rng.normal(0, 0.01)
    return metrics


def scenes(rng, n):
    """Pictures [n, 64, 64, 3] of one object each, and their maps."""
    pictures = rng.integers(90, 130, (n, 64, 64, 3)).astype(np.uint8)
    drawn = np.zeros((n, 64, 64), np.uint8)
    rows, columns = np.mgrid[:64, :64]
    for i in range(n):
        y, x, kind = *rng.integers(14, 50, 2), rng.integers(1, 4)
        mask = np.maximum(abs(rows - y), abs(columns - x)) < rng.integers(6, 13)
        pictures[i][mask], drawn[i][mask] = rng.integers(30, 240, 3), kind
    return pictures, drawn


def plant(root, seeds=(0, 1, 2), bases=("bundled",), hostile=False):
    """Write the whole study below `root` (results/planted); returns the stage's inputs."""
    rng = np.random.default_rng(7)
    for base in bases:
        finish(root / "base" / base, {"parameters": 2_300_000})
    gallery = root.parent / "gallery"
    gallery.mkdir()
    pictures, drawn = scenes(rng, 6)
    np.save(gallery / "segment_images.npy", pictures)
    for kind in ("shape", "texture"):
        np.save(gallery / f"segment_{kind}.npy", drawn)
    pd.DataFrame({"split": ["test"] * 6}).to_parquet(gallery / "segment.parquet")
    facts = {"segment": {"shape": SHAPES, "texture": SHAPES}}
    (gallery / "probes.json").write_text(json.dumps(facts))
    for seed in seeds:
        questions = root / "items" / f"seed{seed}"
        questions.mkdir(parents=True)
        pictures, _ = scenes(rng, 24)
        np.save(questions / "vqa_images.npy", pictures)
        ids = [f"q{i}" for i in range(48)]
        table = pd.DataFrame({"item": ids, "image": [i % 24 for i in range(48)]})
        table["kind"] = [KINDS[i % 8] for i in range(48)]
        table["form"] = [FORMS[i % 3] for i in range(48)]
        table["prompt"] = [f"what {k} is the object ? one word ." for k in table["kind"]]
        table["value"] = "red"
        table.to_parquet(questions / "vqa.parquet")
        finish(questions, {"train/items": 1500, "vqa/items": 1500})
        for base in bases:
            here = f"{base}/seed{seed}"
            finish(root / "pairs" / here, {"pairs/kept": 1100, "pairs/dropped": 400})
            both = probes("random/", 0.62, rng) | probes("pixels/", 0.5, rng)
            finish(root / "baselines" / here, both)
            noise = rng.normal(0, 0.01)
            for arm, gain in GAIN.items():
                _arm(root, base, arm, seed, gain, noise, rng, ids, gallery, hostile)
    for base in bases:
        figures = {"settled/x": 560, "beyond/x": 0.21, "beyond_null/x": 0.01, "cosine/x": 0.93}
        figures |= {"null/x": 0.99, "visual_above": 0.4, "visual_below": 0.3}
        compare = {f"compare/residual.2/{name}": value for name, value in figures.items()}
        folder = root / "compare" / base / f"seed{seeds[0]}"
        folder.mkdir(parents=True)
        Image.fromarray(pictures[0]).resize((360, 200)).save(folder / "rotation.png")
        finish(folder, compare)
    finish(root / "planted" / f"seed{seeds[0]}", {"planted/tenth/found/beyond": 0.9})
    stages = "base items pairs model classify segment vqa sharpen tokens baselines compare planted"
    return {stage: root / stage for stage in stages.split()}


def _arm(root, base, arm, seed, gain, noise, rng, ids, gallery, hostile):
    here, method = f"{base}/{arm}/seed{seed}", {"continue": "sft"}.get(arm, arm)
    trained = method != "none"
    costs = {"steps": 70, "tokens": 240_000, "images": 2200, "flops": 4.1e12}
    metrics = {f"budget/{k}": v * trained for k, v in costs.items()}
    doses = {"kl": 0.05, "tower": 0.011, "projector": 0.02, "language": 0.013}
    metrics |= {f"dose/{k}": v * trained * (1 + 0.1 * rng.random()) for k, v in doses.items()}
    rate = {"sft": 3e-4, "dpo": 3e-5, "grpo": 1e-4}.get(method)
    args = {"learning_rate": rate, "weight_decay": 0.0, "seed": seed, "output_dir": f"/tmp/{arm}"}
    files = {"training_args.json": json.dumps(args)}
    files |= {"curves.json": _curves(method, rng)} if trained else {}
    finish(root / "model" / here, metrics, files if trained else {}, stage=method)
    folder = root / "vqa" / here
    folder.mkdir(parents=True)
    right = rng.random(len(ids)) < 0.6 + 3 * gain
    raw = np.where(right, "red", rng.choice(["blue", "answer : green", "a a a"], len(ids)))
    items = pd.DataFrame({"study": "planted", "base": base, "arm": arm, "seed": seed}, index=ids)
    items["instrument"], items["item"] = "vqa", ids
    items["kind"] = [KINDS[i % 8] for i in range(len(ids))]
    items["raw"] = [SCRIPT] * len(ids) if hostile else raw
    items["strict"], items["lenient"] = right & (rng.random(len(ids)) < 0.9), right
    items.astype({"strict": int, "lenient": int}).to_parquet(folder / "items.parquet", index=False)
    finish(folder, vqa(gain, noise, rng))
    drawn = {"draw": 0.45 + gain, "majority": 0.6 + gain, "any": 0.85}
    finish(root / "sharpen" / here, {f"sharpen/{k}": v for k, v in drawn.items()})
    tied = {"density/auroc": 0.6, "drift/auroc": 0.95, "entropy/auroc": 0.95}
    finish(root / "tokens" / here, {f"tokens/{k}": v for k, v in tied.items()})
    if arm == "none":
        words = pd.DataFrame(
            {"item": ["q0"] * 3 + ["q1"] * 3, "kind": ["color"] * 3 + ["shape"] * 3}
        )
        words["word"] = ["it", "is", SCRIPT if hostile else "red"] * 2
        words["depends"] = [False, False, True] * 2
        words["density"], words["drift"] = [0.2, 0.1, 0.9] * 2, [0.0, 0.1, 2.0] * 2
        words["entropy"] = [0.0, 0.0, 0.7] * 2
        words.to_parquet(root / "tokens" / here / "tokens.parquet", index=False)
    level = 0.8 + gain / 2
    both = probes("", level, rng) | probes("proj/", level - 0.02, rng)
    finish(root / "classify" / here, {k: v for k, v in both.items() if "classify/" in k})
    folder = root / "segment" / here
    folder.mkdir(parents=True)
    told = np.load(gallery / "segment_shape.npy").copy()
    told[rng.random(told.shape) < 0.05] = 0
    maps.gallery(gallery, {"shape": told, "texture": told}, folder / "maps.png")
    finish(folder, {k: v for k, v in both.items() if "segment/" in k})


def _curves(method, rng):
    """What a training stage leaves in curves.json."""
    lines = {}
    for name in CURVES[method]:
        fall = rng.normal(0, 0.04, 15).cumsum() + 1.2 * np.exp(-np.arange(15) / 5)
        lines[name] = [[5 * i, float(value)] for i, value in enumerate(fall)]
    return json.dumps(lines)


@pytest.fixture
def study(tmp_path):
    """A function: plants a study and returns (params, inputs, an empty folder for the report)."""
    return lambda **options: _planted(tmp_path, **options)


@pytest.fixture(scope="package")
def whole(tmp_path_factory):
    """A whole study with its report: (metrics, the report's folder, params, inputs)."""
    from steps.study import report

    params, inputs, out = _planted(tmp_path_factory.mktemp("whole"))
    return report.run(params, inputs, out), out, params, inputs


def _planted(folder, seeds=(0, 1, 2), bases=("bundled",), hostile=False):
    inputs = plant(folder / "results" / "planted", seeds, bases, hostile)
    out = folder / "out"
    out.mkdir()
    return settings(seeds, bases=bases), inputs, out
