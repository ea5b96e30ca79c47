"""A stage's training in several processes that hold one model together: PyTorch's own launcher.

`spread` starts `params.train.processes` copies of a function, each with a GPU of its own (or a
share of the job's CPU threads, joined by gloo), and gives back what the first returns. With one
process it calls the function, and everything else here does nothing. What accelerate and TRL need
to know of the others stands in the environment, where torchrun puts it.
"""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from steps import gpus, halt, stage
from steps.params import Run
from steps.place import private
from steps.stage import StageError
from steps.track import log

folder: Path | None = None
"""In one of several processes: where all of them write what they write together."""


def main() -> bool:
    """Whether this process writes files: the only one, or the first of several."""
    return folder is None or os.environ["RANK"] == "0"


def count() -> int:
    """How many processes train together."""
    return 1 if folder is None else int(os.environ["WORLD_SIZE"])


def wait() -> None:
    """Wait until all processes are here."""
    if folder is not None:
        import torch

        torch.distributed.barrier()


def every(flag: bool, device: Any = "cpu") -> bool:
    """Whether `flag` is true in all processes; they all have to ask."""
    if folder is None:
        return flag
    import torch

    told = torch.tensor(int(flag), device=device)
    torch.distributed.all_reduce(told, torch.distributed.ReduceOp.MIN)
    return bool(told)


@contextmanager
def workplace(run: Run) -> Iterator[Path]:
    """A folder for a trainer to write into, the same for all processes; removed at the end."""
    if folder is not None:
        yield folder
        return
    if run.checkpoints is None:
        with tempfile.TemporaryDirectory() as made:
            yield Path(made)
        return
    made = private(run.checkpoints / "work")  # complete checkpoints are renamed, so beside them
    made.mkdir(parents=True)
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def spread(
    work: Callable[[Any, dict[str, Path], Path], dict[str, float]],
    params: Any,
    inputs: dict[str, Path],
    out: Path,
) -> dict[str, float]:
    """Call a stage's `work(params, inputs, out)` in `params.train.processes` processes.

    Returns the first one's metrics. A StageError in any of them is raised here; all end with this
    process, whatever ends it.
    """
    number = params.train.processes
    if number == 1 and not params.train.shard:  # shares are a process group's, be it of one
        return work(params, inputs, out)
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    gpus.take(number)
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=number,
        run_id=out.name,
        rdzv_backend="c10d",
        rdzv_endpoint="127.0.0.1:0",
        local_addr="127.0.0.1",
        max_restarts=0,
        monitor_interval=0.2,
        start_method="spawn",
    )
    with workplace(params.run) as shared:
        try:
            found = elastic_launch(config, _begin)(work, params, inputs, out, log.handed(), shared)
        except ChildFailedError:
            if (shared / "refused").is_file():
                raise StageError((shared / "refused").read_text()) from None
            if (shared / "halted").is_file():
                raise halt.Halted from None
            raise
    return found[0]


def _begin(work: Any, params: Any, inputs: Any, out: Path, events: Any, shared: Path) -> Any:
    """What each process does; the arguments of `spread`, the event log, the shared folder."""
    global folder
    import torch

    folder = shared
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    stage.seeded(params.run.seed or 0, max(1, params.run.threads // count()))
    if main():
        log.taken(events)
    try:
        return work(params, inputs, out)
    except StageError as error:
        (shared / "refused").write_text(str(error))
        raise
    except halt.Halted:
        (shared / "halted").touch()
        raise
