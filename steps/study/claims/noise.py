"""Before any arm is looked at: what training on alone does to each claim's metric, and how many
units its size of interest takes.

The noise is the spread over units of the claim's effect with `continue` in the place of its first
arm and `none` in that of all others, of most claims `continue` minus `none`: a model trained on in
its own mixture, as long as the arms are, has nothing to learn that could make one seed unlike
another.
"""

import re
from typing import Any

from steps.study import stats
from steps.study.claims import decide, judge
from steps.study.claims.registry import Paper, parsed
from steps.study.claims.units import units as formed
from steps.study.tables import markdown

ARM = re.compile(r"(\w+):(?=[\w{])")
"""An arm in an effect."""
HEAD = ("claim", "metric", "units", "SD", "of interest", "found at", "units it takes")


def table(found: Any, params: Any, papers: dict[str, Paper], units: int, bases: int) -> str:
    """A Markdown row for each claim about arms: SD, smallest effect of interest, units it takes.

    units, bases: of the design. `found at` is the power that these units give it; of a primary
    claim at what Holm asks of one where all primary claims of its paper are to be found.
    """
    rows = []
    for name, paper in papers.items():
        decided = sum(claim.primary for claim in paper.claims.values())
        for number, claim in paper.claims.items():
            terms = [t for t in parsed(claim.effect) if t.metrics] if claim.effect else []
            if not terms or terms[0].arm is None:
                continue
            metric = judge.spelt(terms[0])
            own, _ = formed(still(str(claim.effect)), found, params, claim.unit)
            one = judge.estimate(own)
            if one is None or one.error is None:
                continue
            sd = one.error * one.n**0.5
            alpha = decide.ALPHA / (decided if claim.primary else 1)
            takes = decide.enough(one, claim.interest, bases, alpha)
            power = stats.power(claim.interest, sd, units, 1 - alpha, units - bases)
            which = f"{name} {number}{' (primary)' if claim.primary else ''}"
            figures = [f"{sd:.3g}", f"{claim.interest:g}", f"{power:.2f}", str(takes or "–")]
            rows.append([which, metric, str(one.n), *figures])
    return markdown(list(HEAD), rows)


def still(effect: str) -> str:
    """An effect with `continue` for its first trained arm, and `none` for any other."""
    first = next((arm for arm in ARM.findall(effect) if arm != "none"), None)
    return ARM.sub(lambda found: "continue:" if found[1] == first else "none:", effect)
