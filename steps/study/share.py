"""A study in one file to hand on: what it found, answer by answer, and no weights."""

import gzip
import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

from steps import manifest
from steps.place import private
from steps.stage import StageError
from steps.study.plan import Plan

MOST = 50 * 2**20
"""Bytes that an export has at most."""
KEPT = ("manifest.json", "metrics.json", "items.parquet", "curves.json", "training_args.json")
"""Files of a result that are handed on; of the report all are."""
SUMMARY = "summary.json"
"""Every figure of the report."""
PARAMS = "params.yaml"
"""The effective params in an export."""


def export(plan: Plan, out: Path, page: bool = True) -> Path:
    """Write a study's export to `out`, a .tar.gz that is the same whenever its files are.

    page: with the report as it is; else of it only the summary, half the size. Raises StageError
    without a report, and for more than MOST bytes.
    """
    root = Path(plan.results)
    if not (root / "report" / SUMMARY).is_file():
        raise StageError(f"{root}/report is not there: run the study first (make study)")
    half = private(out)
    half.parent.mkdir(parents=True, exist_ok=True)
    try:
        with (
            half.open("wb") as raw,
            gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as packed,
            tarfile.open(fileobj=packed, mode="w") as bundle,
        ):
            _add(bundle, f"{root.name}/{PARAMS}", plan.path.read_bytes())
            for path in _kept(root, KEPT, page):
                _add(bundle, f"{root.name}/{path.relative_to(root)}", path.read_bytes())
        if (size := half.stat().st_size) > MOST:
            raise StageError(
                f"the export of {root} has {size / 2**20:.0f} MB, more than {MOST / 2**20:.0f}: "
                "lower items.vqa, or hand on the folder itself"
            )
        half.replace(out)
    finally:
        half.unlink(missing_ok=True)
    return out


def _kept(root: Path, names: tuple[str, ...], page: bool = False) -> Iterator[Path]:
    """Files of these names, and the report's summary; with `page` all of the report."""
    for path in sorted(root.rglob("*")):
        whole = page and path.relative_to(root).parts[0] == "report"
        if (
            path.is_file()
            and (whole or path.name in (*names, SUMMARY))
            and not manifest.hidden(path, root)
        ):
            yield path


def _add(bundle: tarfile.TarFile, name: str, data: bytes) -> None:
    facts = tarfile.TarInfo(name)
    facts.size, facts.mode = len(data), 0o644
    bundle.addfile(facts, io.BytesIO(data))


def opened(place: Path, names: tuple[str, ...] = KEPT) -> dict[str, bytes]:
    """The small files (`names`, and an export's params) of a results folder or an export, by path.

    Nothing is unpacked to disk. Raises StageError for what is neither.
    """
    if place.is_dir():
        found = {p.relative_to(place).as_posix(): p.read_bytes() for p in _kept(place, names)}
    elif place.is_file():
        found = dict(_members(place, names))
    else:
        raise StageError(f"there is no {place}: give a study's results folder or its export")
    if not any(name.endswith(manifest.NAME) for name in found):
        raise StageError(f"{place} holds no results of a study")
    return found


def _members(place: Path, names: tuple[str, ...]) -> Iterator[tuple[str, bytes]]:
    total = 0
    try:
        with tarfile.open(place, "r:gz") as bundle:
            for one in bundle:
                name = one.name.partition("/")[2]
                if not one.isreg() or Path(name).name not in (*names, PARAMS, SUMMARY):
                    continue
                total += one.size
                if total > 20 * MOST:
                    raise StageError(f"{place} unpacks to more than {20 * MOST / 2**20:.0f} MB")
                file = bundle.extractfile(one)
                assert file is not None  # it is a regular file
                yield name, file.read()
    except (tarfile.TarError, EOFError, OSError) as error:
        raise StageError(f"{place} is no export of a study: {error}") from None
