"""Every token gets its answer's advantage: GRPO as it is (2402.03300)."""

from typing import Any

from steps.posttrain.credit.seen import Credit, Seen, alike

NEEDS = frozenset()


def weigh(seen: Seen, told: Any) -> Credit:
    """Weight 1 throughout."""
    return Credit(seen.mask.float(), alike(seen))
