"""What our probes of frozen features cost beside scikit-learn's and torch's, on one thread.

python benchmarks/probes.py [--samples 20000] [--width 384] [--classes 100] [--rounds 1]
python benchmarks/probes.py --stream [--scale 0.05]

Gaussian classes, as many test samples as training ones. Every probe chooses its setting on the same
tenth of train (scikit-learn's ridge: by leave-one-out) and is fitted again on all of train. Goals:
ridge_cpu_ratio_vs_sklearn, CPU seconds of scikit-learn's 11 logistic fits over those of our 45
ridge penalties, at least 20; accuracy_gap_points between our ridge, logistic and fused heads at
most 0.7. fused_heads_ratio: CPU of 13 torch heads over that of ours. With --stream: the ridge's
moments of 1.28 M x 1152 features of 1000 classes, times `scale`, read in chunks; peak memory's
growth must be the same for a quarter of them (stream_growth_ratio at most 1.1).
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from timing import cost, tell

DISTANCE = 4.0  # between two classes' means, in standard deviations
PENALTIES, CS = 10.0 ** np.linspace(-5, 6, 45), 10.0 ** np.linspace(-6, 5, 11)
EPOCHS, BATCH, CHUNK = 10, 128, 4096
Told = Callable[[np.ndarray], np.ndarray]
"""Features [M, D] -> codes [M]."""


@dataclass(frozen=True)
class Train:
    """Standardised float32 features [N, D], their codes, and the parts that choose and that fit."""

    x: np.ndarray
    codes: np.ndarray
    classes: int
    chosen: np.ndarray
    rest: np.ndarray


def draw(samples: int, width: int, classes: int, seed: int) -> tuple[Train, np.ndarray, np.ndarray]:
    """Gaussian classes: a training set, and as many test features and codes."""
    from steps.encoder.logistic import slices

    rng = np.random.default_rng(seed)
    means = rng.normal(size=(classes, width)) * DISTANCE / np.sqrt(2 * width)
    codes = rng.integers(0, classes, 2 * samples)
    x = (means[codes] + rng.normal(size=(2 * samples, width))).astype(np.float32)
    x = (x - x[:samples].mean(0)) / x[:samples].std(0)
    train = Train(x[:samples], codes[:samples], classes, *slices(samples, 0.1, 0))
    return train, x[samples:], codes[samples:]


def linear(w: np.ndarray) -> Told:
    """The predictions of weights [D + 1, K]."""
    return lambda x: (x @ w[:-1] + w[-1]).argmax(1)


def ridge(train: Train) -> Told:
    """Our ridge, as the stage `classify` goes about it."""
    from steps.encoder import ridge

    y = ridge.signs(train.codes, train.classes)
    fit, extra = (ridge.moments(train.x[part], y[part]) for part in (train.rest, train.chosen))
    trial, final = ridge.factorise(fit), ridge.factorise(ridge.merge(fit, extra))
    x, truth, best = train.x[train.chosen], train.codes[train.chosen], (-1.0, 0.0)
    for penalty in sorted(PENALTIES, reverse=True):
        w, b = ridge.weights(trial, penalty)
        right = ((x @ w + b).argmax(1) == truth).mean()
        if right > best[0]:
            best = (right, penalty)
    return linear(np.vstack(ridge.weights(final, best[1])))


def logistic(train: Train) -> Told:
    """Our logistic regression at scikit-learn's tolerance, over all of DINO's values of C.

    11 of them are 12.6 times apart: at 4000 x 192 x 50 that alone cost 1 to 4 points of accuracy.
    """
    from steps.encoder import logistic

    return linear(logistic.path(train.x, train.codes, train.classes, tolerance=1e-4)[0])


def fused(train: Train) -> Told:
    """Our 13 fused heads."""
    from steps.encoder import fused

    return linear(fused.path(train.x, train.codes, train.classes, epochs=EPOCHS, batch=BATCH)[0])


def heads(train: Train) -> Told:
    """DINO's way: one module for each rate, trained together on the summed loss."""
    from steps.encoder.fused import RATES

    def trained(x: torch.Tensor, y: torch.Tensor, rates: tuple[float, ...]) -> list[Any]:
        dice = torch.Generator().manual_seed(0)
        modules = [torch.nn.Linear(x.shape[1], train.classes) for _ in rates]
        for module in modules:
            torch.nn.init.normal_(module.weight, std=0.01, generator=dice)
            torch.nn.init.zeros_(module.bias)
        pairs = zip(modules, rates, strict=True)
        groups = [{"params": m.parameters(), "lr": r * BATCH / 256} for m, r in pairs]
        optimiser = torch.optim.SGD(groups, momentum=0.9)
        steps = EPOCHS * -(-len(x) // BATCH)
        curve = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
        for _ in range(EPOCHS):
            for part in torch.randperm(len(x), generator=dice).split(BATCH):
                losses = [torch.nn.functional.cross_entropy(m(x[part]), y[part]) for m in modules]
                optimiser.zero_grad()
                torch.stack(losses).sum().backward()
                optimiser.step()
                curve.step()
        return modules

    x, y = torch.from_numpy(train.x), torch.from_numpy(train.codes)
    found = trained(x[train.rest], y[train.rest], RATES)
    right = [(m(x[train.chosen]).argmax(1) == y[train.chosen]).sum().item() for m in found]
    last = trained(x, y, (RATES[int(np.argmax(right))],))[0]
    return lambda new: last(torch.from_numpy(new)).argmax(1).numpy()


def sklearn_logistic(train: Train) -> Told:
    """scikit-learn's LogisticRegression, one fit for each C."""
    from sklearn.linear_model import LogisticRegression

    def fit(c: float, x: np.ndarray, y: np.ndarray) -> Any:
        return LogisticRegression(C=c, solver="lbfgs", max_iter=1000).fit(x, y)

    x, y, rest, chosen = train.x, train.codes, train.rest, train.chosen
    right = [fit(c, x[rest], y[rest]).score(x[chosen], y[chosen]) for c in CS]
    return fit(CS[int(np.argmax(right))], x, y).predict


def sklearn_ridge(train: Train) -> Told:
    """scikit-learn's RidgeClassifierCV, which chooses by leave-one-out."""
    from sklearn.linear_model import RidgeClassifierCV

    return RidgeClassifierCV(alphas=PENALTIES).fit(train.x, train.codes).predict


WAYS: dict[str, Callable[[Train], Told]] = {
    "our ridge, 45 penalties": ridge,
    "our logistic, 45 C": logistic,
    "our fused heads, 13 rates": fused,
    "torch heads, 13 rates": heads,
    "scikit-learn logistic, 11 C": sklearn_logistic,
    "scikit-learn ridge, 45 penalties": sklearn_ridge,
}


def compare(options: Any) -> tuple[dict[str, float], dict[str, float]]:
    """Median CPU seconds of each way, run in turns, and the share of test that it gets right."""
    warm, _, _ = draw(200, 8, 4, 0)  # imports and first calls are no probe's cost
    for probe in WAYS.values():
        probe(warm)
    train, x, codes = draw(options.samples, options.width or 384, options.classes or 100, 1)
    spent: dict[str, list[float]] = {name: [] for name in WAYS}
    right = {}
    for _ in range(options.rounds):
        for name, probe in WAYS.items():
            began = time.process_time()
            told = probe(train)
            spent[name].append(time.process_time() - began)
            right[name] = float((told(x) == codes).mean())
    cpu = {name: statistics.median(seconds) for name, seconds in spent.items()}
    for name in WAYS:
        print(f"{name:<33} {cpu[name]:8.2f} CPU-s, {100 * right[name]:5.1f} % right")
    return cpu, right


def stream(samples: int, width: int, classes: int) -> None:
    """Merge the moments of so many generated samples; tell by how many MB peak memory grew."""
    from steps.encoder import ridge

    means = np.random.default_rng(0).normal(size=(classes, width)).astype(np.float32)
    before, began, whole = peak(), time.process_time(), None
    for first in range(0, samples, CHUNK):
        rng = np.random.default_rng([1, first])
        codes = rng.integers(0, classes, min(CHUNK, samples - first))
        noise = rng.standard_normal((len(codes), width), dtype=np.float32)
        x = (means[codes] + noise).astype(np.float16)
        part = ridge.moments(x, ridge.signs(codes, classes))
        whole = part if whole is None else ridge.merge(whole, part)
    assert whole is not None and whole.n == samples
    tell(growth_mb=peak() - before, cpu_s=time.process_time() - began)


def peak() -> float:
    """The most memory, in MB, that this process held so far: rusage's counts its parent's too."""
    text = Path("/proc/self/status").read_text()
    return int(text.partition("VmHWM:")[2].split()[0]) / 1024


def streamed(options: Any) -> None:
    """Stream a quarter of the samples and all of them, each in a process of its own."""
    shape = [options.width or 1152, options.classes or 1000]
    samples = round(1_280_000 * options.scale)
    grown = {}
    for n in (samples // 4, samples):
        names = zip(("--streamed", "--width", "--classes"), (n, *shape), strict=True)
        words = [word for name, value in names for word in (name, str(value))]
        text = cost([sys.executable, __file__, *words], OMP_NUM_THREADS="1").text
        found = json.loads(text.splitlines()[-1])
        grown[n] = found["growth_mb"]
        print(f"{n:>9} x {shape[0]}: {found['growth_mb']:6.1f} MB, {found['cpu_s']:.1f} CPU-s")
    ratio = grown[samples] / grown[samples // 4]
    print(f"four times the samples took {ratio:.2f} times the memory (goal at most 1.1)")
    tell(
        stream_samples=samples,
        width=shape[0],
        classes=shape[1],
        stream_growth_mb=grown,
        stream_growth_ratio=ratio,
    )


def main() -> None:
    """Measure, print lines for people and one JSON object."""
    from threadpoolctl import threadpool_limits

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--samples", type=int, default=20_000, help="training samples")
    parser.add_argument("--width", type=int, help="features; default 384, with --stream 1152")
    parser.add_argument("--classes", type=int, help="default 100, with --stream 1000")
    parser.add_argument("--rounds", type=int, default=1, help="runs of each; the median counts")
    parser.add_argument("--stream", action="store_true", help="memory of streamed moments instead")
    parser.add_argument("--scale", type=float, default=0.05, help="of 1.28 M streamed samples")
    parser.add_argument("--streamed", type=int, help=argparse.SUPPRESS)  # the process measured
    options = parser.parse_args()
    torch.set_num_threads(1)
    with threadpool_limits(1):
        if options.streamed:
            return stream(options.streamed, options.width, options.classes)
        if options.stream:
            return streamed(options)
        cpu, right = compare(options)
    ours = [right[name] for name in WAYS if name.startswith("our")]
    gap = 100 * (max(ours) - min(ours))
    ratio = cpu["scikit-learn logistic, 11 C"] / cpu["our ridge, 45 penalties"]
    heads_ratio = cpu["torch heads, 13 rates"] / cpu["our fused heads, 13 rates"]
    print(
        f"our ridge takes 1/{ratio:.0f} of scikit-learn's logistic CPU (goal 1/20), our probes are "
        f"{gap:.1f} points apart (goal 0.7), fused heads {heads_ratio:.2f} x as fast as torch's"
    )
    tell(
        samples=options.samples,
        cpu_s=cpu,
        accuracy=right,
        ridge_cpu_ratio_vs_sklearn=ratio,
        accuracy_gap_points=gap,
        fused_heads_ratio=heads_ratio,
    )


if __name__ == "__main__":
    main()
