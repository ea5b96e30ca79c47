"""What each result of a study is: in order, missing, out of date or damaged, and why.

Each engine trusts its own record. This looks at the results themselves: their files against their
manifests, and these against the present params, code and inputs.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from steps import codedeps, manifest
from steps import params as parameters
from steps.stage import STAGES
from steps.study.plan import Plan
from steps.study.rules import Rule, rules


class Wrong(NamedTuple):
    """What is wrong with a result: `kind`, one of KINDS, and why, in one sentence."""

    kind: str
    why: str


KINDS = {
    "missing": "not made yet",
    "stale": "made with other params, code or inputs",
    "waiting": "an input of it is not in order",
    "damaged": "its files are not those of its manifest",
}


def instances(found: list[Rule]) -> Iterator[tuple[Rule, dict[str, str], Path]]:
    """Every rule with each combination of its wildcards, and the folder it makes then."""
    for rule in found:
        for levels in rule.instances():
            yield rule, levels, Path(rule.out.format(**levels))


def examine(plan: Plan, found: list[Rule] | None = None) -> dict[Path, Wrong | None]:
    """What is wrong with each result of a plan; None where nothing is.

    In order is a result whose files are those of its manifest, made from the present params, code
    and inputs, and whose inputs are in order.
    """
    makers = {out: (rule, levels) for rule, levels, out in instances(found or rules(plan))}
    said: dict[Path, Wrong | None] = {}
    hashes: dict[Path, str] = {}

    def look(out: Path) -> Wrong | None:
        if out not in said:
            said[out] = None  # no rule is its own input
            said[out] = _wrong(plan, out, *makers[out], look_into=inputs_of, hashes=hashes)
        return said[out]

    def inputs_of(path: Path) -> Wrong | None:
        inner = [out for out in makers if out == path or path in out.parents]
        bad = [out for out in inner if look(out)]
        return Wrong("waiting", f"its input {bad[0]} is not in order") if bad else None

    for out in makers:
        look(out)
    return said


def _wrong(
    plan: Plan,
    out: Path,
    rule: Rule,
    levels: dict[str, str],
    look_into: Callable[[Path], Wrong | None],
    hashes: dict[Path, str],
) -> Wrong | None:
    if not out.is_dir():
        return Wrong("missing", "it is not there")
    try:
        hashes[out] = manifest.check(out, full=True)
        facts = manifest.read(out)
        for name, path in rule.inputs.items():
            place = Path(path.format(**levels))
            if why := look_into(place):
                return why
            if place not in hashes:
                inside = place.is_relative_to(plan.results) and not place.is_file()
                hashes[place] = manifest.check(place) if inside else manifest.plain(place)
            if facts["inputs"].get(name) != hashes[place]:
                return Wrong("stale", f"its input {place} is not the one it was made from")
    except (manifest.Damaged, FileNotFoundError) as error:
        return Wrong("damaged", str(error))
    reads = [key.format(**levels) for key in rule.reads]
    now = parameters.values(plan.params, reads)
    changed = [key for key in now if facts["params"].get(key) != now[key]]
    if changed or len(facts["params"]) != len(now):
        names = ", ".join(changed) or "more of them"
        return Wrong("stale", f"it was made with other params ({names})")
    if facts["code"] != codedeps.digest(STAGES[rule.name]):
        return Wrong("stale", "it was made by other code")
    return None
