"""A tiny random base and a handful of questions: what the stages of post-training read."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from steps.data.questions import ASK, CHOICES, LEAD
from steps.params import Run
from steps.schema.data import Pairs
from steps.schema.training import Dpo, Grpo, Sft, Train

CANVAS, PATCH = 16, 8
COLORS = {"red": (220, 40, 40), "blue": (40, 60, 220), "green": (40, 200, 60)}


def asked(rng, count):
    """Questions about images of one colour, in all forms and both styles, and their images."""
    colors, rows = list(COLORS), []
    images = np.empty((count, CANVAS, CANVAS, 3), np.uint8)
    for i in range(count):
        value = colors[rng.integers(3)]
        images[i] = COLORS[value]
        images[i, 0, 0, 0] = i  # tells one image from another
        form, style = ("rationale", "answer", "word")[i % 3], "ab"[i // 3 % 2]
        lead = "" if form == "word" else LEAD[style]
        evidence = f"the circle is at the top left . it is {value} . "
        evidence = evidence if form == "rationale" else ""
        response = evidence + lead + value
        rows.append(
            {
                "item": f"q{i}",
                "image": i,
                "scene": i,
                "kind": "color",
                "form": form,
                "style": style,
                "prompt": f"what color is the circle ? {ASK[style][form]}",
                "response": response,
                "value": value,
                "choices": list(CHOICES["color"]),
                "depends": [int(w == value) for w in response.split()],
                "novel": False,
            }
        )
    return pd.DataFrame(rows), images


def words():
    """The words of these questions alone: few, so that chance finds an answer now and then."""
    table, _ = asked(np.random.default_rng(0), 60)
    text = " ".join([*table["prompt"], *table["response"], *CHOICES["color"], "user assistant :"])
    return sorted(set(text.split()))


@pytest.fixture(scope="session")
def base(tmp_path_factory):
    """A base folder whose `instruct` is a random LLaVA of 4 image tokens."""
    from steps.models import build

    sizes = SimpleNamespace(
        tower_width=32, tower_layers=2, tower_heads=2, width=32, layers=2, heads=2, feed_forward=48
    )
    folder = tmp_path_factory.mktemp("base")
    config = build.config(sizes, CANVAS, PATCH, words())
    build.vlm(config, 3).save_pretrained(folder / "instruct")
    build.processor(CANVAS, PATCH, words()).save_pretrained(folder / "instruct")
    return folder


@pytest.fixture(scope="session")
def items(tmp_path_factory):
    """A folder of 24 training, 24 stage-1 and 10 tuning questions."""
    folder = tmp_path_factory.mktemp("items")
    for seed, (name, count) in enumerate({"train": 24, "stage1": 24, "tune": 10}.items()):
        table, images = asked(np.random.default_rng(seed), count)
        table.to_parquet(folder / f"{name}.parquet")
        np.save(folder / f"{name}_images.npy", images)
        if name == "train":  # the upper half is the image's colour, the lower is nothing
            maps = np.zeros(images.shape[:3], np.uint8)
            maps[:, :8] = 1 + table["value"].map(list(COLORS).index).to_numpy()[:, None, None]
            np.save(folder / "train_maps.npy", maps)
    return folder


@pytest.fixture(scope="session")
def pairs(tmp_path_factory, items):
    """A folder of 20 pairs: the training questions but four, against another colour."""
    folder = tmp_path_factory.mktemp("pairs")
    table = pd.read_parquet(items / "train.parquet").drop(index=[2, 3, 11, 17])
    wrong = {"red": "blue", "blue": "green", "green": "red"}
    table["chosen"] = table["response"]
    table["rejected"] = [
        r.replace(v, wrong[v]) for r, v in zip(table["response"], table["value"], strict=True)
    ]
    table["reason"] = "wrong"
    table["sampled"] = [r if i % 4 else "" for i, r in enumerate(table["response"])]
    table.reset_index(drop=True).to_parquet(folder / "pairs.parquet")
    return folder


@pytest.fixture(scope="session")
def inputs(base, items, pairs):
    return {"base": base, "items": items, "pairs": pairs}


@pytest.fixture
def params():
    """A function: the sections of all methods, small, with a method's keys set otherwise."""
    return settings


def settings(checkpoints=None, seed=0, arm="arm", train=(), **methods):
    common = {"batch": 4, "micro_batch": 4, "warmup": 0.03, "schedule": "cosine", "clip": 1.0}
    common |= {"weight_decay": 0.0, "log_every": 1, "checkpoint_every": 2}
    common |= {"precision": "float32", "recompute": False, "lora": {"rank": 0, "alpha": 16.0}}
    common |= {"rates": dict.fromkeys(("tower", "projector", "language"), 1.0)}
    common |= {"processes": 1, "shard": False} | dict(train)
    parts = {"parts": ["tower", "projector", "language"], "learning_rate": 1e-2}
    sft = parts | {"items": "train", "targets": "reference", "images": "own", "epochs": 1.0}
    sft |= {"patch_loss": 0.0}
    dpo = parts | {"loss": "dpo", "rejected": "sampled", "epochs": 1.0, "beta": 0.1}
    dpo |= {"sft_epochs": 0.0, "sft_rate": 1e-2}
    sections = {
        "sft": (Sft, sft),
        "dpo": (Dpo, dpo),
        "grpo": (
            Grpo,
            parts
            | {
                "steps": 5,
                "prompts": 2,
                "generations": 8,
                "micro_batch": 16,
                "refill": 0,
                "loss": "grpo",
                "scale": "group",
                "beta": 0.0,
                "temperature": 1.0,
                "max_tokens": 8,
                "sampler": "own",
                "vllm_memory": 0.3,
                "agree": 0.1,
                "reward": "correct",
                "credit": "uniform",
                "share": 0.15,
                "select": "topk",
                "weight": "hard",
                "boost": 1.0,
                "equal_scale": True,
                "layers": [1],
                "heads": [],
                "density": "enrichment",
                "sinks": "keep",
                "spoil": 0.5,
                "pivots": 0.4,
                "divergence": "exact",
                "floor": 0.9,
                "measure_every": 0,
            },
        ),
    }
    mix = {"wrong": 0.5, "continuation": 0.45, "format": 0.05}
    return SimpleNamespace(
        train=Train(**common),
        pairs=Pairs(draws=4, temperature=1.0, max_tokens=12, batch=8, mix=mix),
        run=Run("study", "stage", "bundled", arm, seed, 1, checkpoints),
        **{k: kind(**values | methods.get(k, {})) for k, (kind, values) in sections.items()},
    )


@pytest.fixture(scope="session")
def weights():
    """A function: the tensors of a model folder by name."""
    from safetensors.numpy import load_file

    def read(folder):
        found = {}
        for path in sorted(folder.glob("*.safetensors")):
            found |= load_file(path)
        assert found
        return found

    return read


@pytest.fixture
def train(inputs, tmp_path):
    """A function: GRPO by a trainer of some kind on the stage's own arguments.

    Returns the trainer, the logged points and the final weights.
    """
    import torch

    from steps.posttrain import grpo, loop, questions, rewards, rollouts, save

    def run(sections, kind, **options):
        model, processor = save.begin(inputs["base"])
        items = questions.kept(inputs["pairs"])
        sequence = questions.order(len(items), sections.grpo.steps * sections.grpo.prompts, 0)
        trainer = kind(
            model=model,
            reward_funcs=rewards.correctness,
            args=grpo.arguments(sections, tmp_path),
            train_dataset=grpo.dataset(items, inputs["items"] / "train_images.npy", sequence),
            processing_class=processor,
            rollout_func=rollouts.rollouts,
            **options,
        )
        points = loop.fit(trainer, sections.run, "grpo.learning_rate")
        return trainer, points, torch.cat([p.detach().flatten() for p in model.parameters()])

    return run


@pytest.fixture(scope="session")
def trained(inputs, tmp_path_factory):
    """Each method's folder and metrics after one short run without a stop."""
    from importlib import import_module

    done = {}
    for method in ("sft", "dpo", "grpo"):
        out = tmp_path_factory.mktemp(method)
        module = import_module(f"steps.posttrain.{method}")
        done[method] = (out, module.run(settings(), inputs, out))
    return done
