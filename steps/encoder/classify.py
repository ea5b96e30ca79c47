"""Classification probes on pooled features: what the encoder tells about whole images.

For every label a multi-output ridge classifier (`ridge.py`), its penalty chosen on a slice of the
training images and refitted on all of them: the test images are looked at once. Out of domain,
handwritten digits at a few shots a class, drawn many times.

Names: `classify/<tier>/<label>/top1` on what the projector reads, the same under `proj/` on what
it makes of it, under `layer<k>/` on what a block gives, under `pca/` in a view of fixed width (and
under `original/`, `random/`, `pixels/` from the stage `baselines`). Other probes than ridge stand
behind the label: `.../<label>/knn/top1`.
"""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from steps.encoder import fewshot, ridge, scores
from steps.encoder.features import load, places, prefix
from steps.encoder.view import fixed
from steps.stage import StageError


def run(params: Any, inputs: dict[str, Path], out: Path) -> dict[str, float]:
    """Probe the cached features of `inputs['features']` against the labels in `inputs['probes']`.

    params.classify: kinds (ridge and others), pca (width of the view beside, 0 for none),
    penalties (on standardised features), select_share (share of train that chooses the penalty),
    digits_per_class, digits_draws. Writes items.parquet, one row a test image and label (digits:
    and draw). Returns top-1 and chance as shares in [0, 1].
    """
    metrics, tables, probes = {}, [], Path(inputs["probes"])
    for place in places(inputs["features"]):
        read = partial(_read, inputs["features"], place)
        views = {prefix(place): read}
        if params.classify.pca:
            split = pd.read_parquet(probes / "classify.parquet")["split"]
            seen = fixed(read, np.flatnonzero(split == "train"), params.classify.pca)
            views[f"pca/{prefix(place)}"] = seen
        for name, features in views.items():
            figures, rows = probe(features, probes, params, name)
            metrics |= figures
            tables += rows
    scores.write(tables, out)
    return metrics


def _read(folder: Path, place: str, name: str) -> np.ndarray:
    return load(folder, name, place)


def probe(
    features: Callable[[str], np.ndarray], probes: Path, params: Any, prefix: str
) -> tuple[dict[str, float], list[pd.DataFrame]]:
    """All classification probes on one kind of features.

    features(name) gives the pooled features [N, D] of a probe set. Returns (metrics, tables of
    items), names and instruments beginning with `prefix`.
    """
    known = json.loads((probes / "probes.json").read_text())
    sets = {"classify": known["classify"]} if "classify" in known else {}
    if (probes / "photos_classify.parquet").is_file():
        sets["photos_classify"] = {"photos": ["category"]}  # names differ between splits
    sets |= {n: of["classify"] for n, of in known.get("sets", {}).items() if "classify" in of}
    metrics, tables = {}, []
    for name, tiers in sets.items():
        columns = [label for labels in tiers.values() for label in labels]
        x, rows = scores.open_set(features, probes, name, ["split", *columns])
        seed = params.run.seed or 0
        fitted = linear(x, rows, columns, params.classify, seed)
        test = rows[rows.split == "test"]
        for tier, labels in tiers.items():
            for label in labels:
                told, penalty, chance = fitted[label]
                right = told == test[label].to_numpy()
                key = f"{prefix}classify/{tier}/{label}"
                metrics[f"{key}/top1"] = float(right.mean())
                metrics[f"{key}/chance"] = chance
                metrics[f"{key}/penalty"] = penalty
                if "novel" in test and 0 < test.novel.sum() < len(test):
                    metrics[f"{key}/top1_novel"] = float(right[test.novel.to_numpy(bool)].mean())
                kind = label if name == "classify" else f"{name.removesuffix('_classify')}_{label}"
                extra = {"truth": test[label].to_numpy()}
                if "novel" in test:
                    extra["novel"] = test.novel.to_numpy(bool)
                ids, instrument = scores.ids(test, name), f"{prefix}classify/{kind}"
                tables.append(scores.table(params.run, instrument, ids, told, right, **extra))
                for other in (k for k in params.classify.kinds if k != "ridge"):
                    told, metrics[f"{key}/{other}/setting"] = _rival(
                        other, x, rows, label, params.classify, seed
                    )
                    right = told == test[label].to_numpy()
                    metrics[f"{key}/{other}/top1"] = float(right.mean())
                    name_of = f"{instrument}/{other}"
                    tables.append(scores.table(params.run, name_of, ids, told, right, **extra))
    if "classify" not in known:  # one's own data: no digits either
        return metrics, tables
    few, drawn = fewshot.digits(features, probes, params, prefix)
    return metrics | few, tables + drawn


def linear(
    x: np.ndarray, rows: pd.DataFrame, columns: list[str], section: Any, seed: int
) -> dict[str, tuple[np.ndarray, float, float]]:
    """Ridge probes for several label columns at once, on features x [N, D].

    One factorisation serves all labels and penalties. Returns, for each label, its predictions on
    the test images, the penalty and the chance level (always the commonest class of train).
    Raises StageError if a label has one class only, or test classes that train lacks.
    """
    train = np.flatnonzero(rows.split == "train")
    test = np.flatnonzero(rows.split == "test")
    if not len(train) or not len(test):
        raise StageError(
            f"the probe set has {len(train)} training and {len(test)} test images: "
            "both splits need some, see the section probes of params.yaml"
        )
    names, codes, blocks, width = {}, {}, {}, 0
    for label in columns:
        names[label] = _classes(rows[label].to_numpy(), train, test, label)
        codes[label] = np.searchsorted(names[label], rows[label].to_numpy())
        blocks[label] = slice(width, width := width + len(names[label]))
    y = np.hstack([ridge.signs(codes[c], len(names[c])) for c in columns])

    held = max(1, round(section.select_share * len(train)))
    shuffled = np.random.default_rng([seed, 1]).permutation(train)
    chosen, rest = shuffled[:held], shuffled[held:]
    fit, extra = (ridge.moments(x[part], y[part]) for part in (rest, chosen))
    trial, final = ridge.factorise(fit), ridge.factorise(ridge.merge(fit, extra))
    best = dict.fromkeys(columns, (-1.0, 0.0))
    for penalty in sorted(section.penalties, reverse=True):  # of equals, the stronger is taken
        w, b = ridge.weights(trial, penalty)
        told = x[chosen] @ w + b
        for label in columns:
            right = (told[:, blocks[label]].argmax(1) == codes[label][chosen]).mean()
            if right > best[label][0]:
                best[label] = (right, penalty)
    results = {}
    for label in columns:
        penalty = best[label][1]
        w, b = ridge.weights(final, penalty)
        told = (x[test] @ w + b)[:, blocks[label]].argmax(1)
        common = np.bincount(codes[label][train]).argmax()
        chance = float((codes[label][test] == common).mean())
        results[label] = (names[label][told], penalty, chance)
    return results


def _rival(
    kind: str, x: np.ndarray, rows: pd.DataFrame, label: str, section: Any, seed: int
) -> tuple[np.ndarray, float]:
    """What another probe than ridge calls the test images, and what it chose."""
    from steps.encoder import rivals  # they need torch

    train, test = (np.flatnonzero(rows.split == split) for split in ("train", "test"))
    values = rows[label].to_numpy()
    names = _classes(values, train, test, label)
    codes, chosen = rivals.told(kind, x, np.searchsorted(names, values), train, test, section, seed)
    return names[codes], float(chosen)


def _classes(values: np.ndarray, train: np.ndarray, test: np.ndarray, label: str) -> np.ndarray:
    """The sorted classes of a label, all of which occur in train."""
    known, asked = np.unique(values[train]), np.unique(values[test])
    if len(known) < 2:
        raise StageError(
            f"label {label}: all training images are {known[0]!r}; a probe needs two classes"
        )
    strange = np.setdiff1d(asked, known)
    if len(strange):
        raise StageError(
            f"label {label}: test has the classes {list(strange)} that train lacks; "
            "enlarge the probes' training split or leave these images out"
        )
    return known
