"""The arm that does not train: the instruct-tuned base itself, and a budget of nothing.

Its weights are the base's for every seed; what is measured on them is not, since each seed has
images and questions of its own.
"""

import os
import shutil
from pathlib import Path
from typing import Any

from steps.posttrain import budget, dose
from steps.track import log


def run(params: Any, inputs: dict[str, Path], out: Path) -> dict[str, float]:
    """Stage `none`: put the files of `base/instruct` into `out`, as hard links where that works.

    A link costs no room; its content is never written to, because stages write new files.
    """
    for path in sorted((inputs["base"] / "instruct").iterdir()):
        try:
            os.link(path, out / path.name)
        except OSError:  # another file system, or one without links
            shutil.copyfile(path, out / path.name)
    log.model(out)
    return {**budget.free(), **dose.nothing()}
