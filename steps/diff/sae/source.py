"""Where a fit's batches come from: activations in memory, or a model that runs beside the fit.

A source is called with a step's number and gives the batches from that step on, without end, each
{site: [batch, d]}: the same tokens for all sites. All that is random is a function of (seed,
epoch), so that a fit may stop and go on, and two fits with one seed see the same tokens in the same
order. What does not fill a batch at an epoch's end is left out.
"""

from collections.abc import Callable, Iterator
from itertools import count

import torch
from torch import Tensor

from steps.stage import StageError

Source = Callable[[int], Iterator[dict[str, Tensor]]]
Forward = Callable[[list[int]], dict[str, Tensor]]
"""Samples' numbers -> {site: activations [n, d]} of their tokens, sample by sample."""
GROUP = 32  # samples in a forward pass
READING = 500_000  # apart from any epoch: the order of samples has dice of its own


def stored(x: dict[str, Tensor], batch: int, seed: int) -> Source:
    """Batches of tokens held in memory, {site: [n, d]}, in a fresh permutation each epoch.

    Raises StageError when there are fewer tokens than a batch.
    """
    tokens = len(next(iter(x.values())))
    per_epoch = _enough(tokens, batch)

    def batches(first: int) -> Iterator[dict[str, Tensor]]:
        rows = None
        for step in count(first):
            epoch, place = divmod(step, per_epoch)
            if rows is None or place == 0:
                rows = torch.randperm(tokens, generator=_dice(seed, epoch))
            some = rows[place * batch : (place + 1) * batch]
            yield {site: of[some] for site, of in x.items()}

    return batches


def online(forward: Forward, counts: list[int], batch: int, seed: int, buffer: int) -> Source:
    """Batches of a model's activations, made as they are needed; nothing is stored.

    counts: tokens that `forward` gives for each sample. Samples are read in a fresh order each
    epoch, GROUP at once (the same groups after a stop, so that the sums of a padded batch come out
    the same). When `buffer` tokens wait they are shuffled, and half of them is handed out. A buffer
    for all tokens gives the very order of `stored`. Raises StageError when it holds fewer than two
    batches, or all samples less than one.
    """
    _enough(sum(counts), batch)
    if buffer < 2 * batch:
        raise StageError(f"a buffer of {buffer} tokens: give it room for two batches of {batch}")

    def batches(first: int) -> Iterator[dict[str, Tensor]]:
        step = 0
        for epoch in count():
            held = _Held(forward, counts)
            for samples, rows in _schedule(counts, batch, seed, epoch, buffer):
                if samples:
                    held.read(samples)
                elif step < first:
                    held.waiting[rows] = False
                    step += 1
                else:
                    yield held.take(rows)
                    step += 1

    return batches


def _enough(tokens: int, batch: int) -> int:
    """Batches in an epoch."""
    if tokens < batch:
        raise StageError(
            f"diff.batch is {batch}, more than the {tokens} tokens collected: "
            "lower diff.batch or raise diff.tokens"
        )
    return tokens // batch


def _dice(seed: int, epoch: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed * 1_000_003 + epoch)


def _schedule(
    counts: list[int], batch: int, seed: int, epoch: int, buffer: int
) -> Iterator[tuple[list[int], Tensor]]:
    """An epoch: samples to read next, or rows [batch] (of all tokens, by sample) to hand out."""
    nothing = torch.empty(0, dtype=torch.int64)
    order = torch.randperm(len(counts), generator=_dice(seed, READING + epoch))
    dice = _dice(seed, epoch)
    ends = torch.tensor(counts).cumsum(0)
    waiting, groups = nothing, order.split(GROUP)
    for number, group in enumerate(groups):
        yield group.tolist(), nothing
        spans = [torch.arange(int(ends[i]) - counts[i], int(ends[i])) for i in group.tolist()]
        waiting, last = torch.cat([waiting, *spans]), number == len(groups) - 1
        if last or len(waiting) >= buffer:
            mixed = waiting.sort().values[torch.randperm(len(waiting), generator=dice)]
            full = (len(mixed) if last else len(mixed) // 2) // batch * batch
            for rows in mixed[:full].split(batch) if full else ():
                yield [], rows
            waiting = mixed[full:]


class _Held:
    """Tokens that wait in the buffer; samples are put through the model once one is wanted."""

    def __init__(self, forward: Forward, counts: list[int]) -> None:
        self.forward, self.counts = forward, counts
        self.ends = torch.tensor(counts).cumsum(0)
        self.waiting = torch.zeros(sum(counts), dtype=torch.bool)
        self.unread: list[list[int]] = []
        self.rows = torch.empty(0, dtype=torch.int64)  # sorted
        self.x: dict[str, Tensor] = {}

    def _span(self, sample: int) -> Tensor:
        return torch.arange(int(self.ends[sample]) - self.counts[sample], int(self.ends[sample]))

    def read(self, samples: list[int]) -> None:
        self.unread.append(samples)
        for sample in samples:
            self.waiting[self._span(sample)] = True

    def take(self, rows: Tensor) -> dict[str, Tensor]:
        if self.unread:
            self._fill()
        self.waiting[rows] = False
        place = torch.searchsorted(self.rows, rows)
        return {site: of[place] for site, of in self.x.items()}

    def _fill(self) -> None:
        keep = self.waiting[self.rows]
        numbers, parts = [self.rows[keep]], {site: [of[keep]] for site, of in self.x.items()}
        for samples in self.unread:
            rows = torch.cat([self._span(sample) for sample in samples])
            wanted = self.waiting[rows]
            if wanted.any():
                for site, of in self.forward(samples).items():
                    parts.setdefault(site, []).append(of[wanted])
                numbers.append(rows[wanted])
        self.rows, order = torch.cat(numbers).sort()
        self.x = {site: torch.cat(some)[order] for site, some in parts.items()}
        self.unread = []
