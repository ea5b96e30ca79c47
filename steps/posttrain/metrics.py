"""What the stages of this wing measure; see `steps.study.glossary` for how it is written."""

CURVES = {
    "loss": "number: the method's own objective",
    "grad_norm": "number: norm of the gradient before it is clipped",
    "entropy": "nats: entropy of the next token's distribution, mean over answers' tokens",
    "mean_token_accuracy": "share: tokens of reference responses that were the likeliest",
    "patch_loss": "nats: cross-entropy of what fills each patch (sft.patch_loss)",
    "rewards/accuracies": "share: pairs whose chosen answer has the larger implicit reward",
    "rewards/margins": "number: implicit reward of the chosen answer minus the rejected one's",
    "reward": "number: reward of a drawn answer, mean; at most 1",
    "frac_reward_zero_std": "share: groups whose answers all have one reward: no gradient",
    "kl": "nats: TRL's estimate of the divergence from the reference, a token drawn",
    "kl_base": "nats: divergence from the base on frozen answers, a token",
    "completions/mean_length": "count: tokens of a drawn answer, mean",
    "completions/clipped_ratio": "share: drawn answers that were cut short",
    "clip_ratio/region_mean": "share: tokens whose ratio to the sampling policy was clipped",
    "ratio_off": "number: largest distance from 1 of that ratio",
    "gradient/anchors": "number: norm of the gradient that anchors alone would give",
    "gradient/others": "number: norm of the gradient that all other tokens would give",
    "gradient/share": "share: the first of these norms over their sum",
    "refill/groups": "count: groups that were drawn in the place of flat ones, a step",
    "refill/flat": "share: groups that stayed flat all the same",
    "reward/not_finite": "share: answers whose reward was not finite, and counted 0",
    "credit/share": "share: answers' tokens that the credit rule picked",
    "credit/weight": "number: weight of an answer's token by the credit rule, mean before scaling",
    "credit/density": "number: attention of answers' tokens to the image, as the rule measures it",
    "credit/precision": "share: picked tokens that depend on the image",
    "credit/recall": "share: tokens that depend on the image that were picked",
}
"""What trainings log; of each the first point and the last."""
BUDGET = {
    "budget/steps": "count: optimiser steps",
    "budget/tokens": "count: tokens trained on, of text and image",
    "budget/reference_tokens": "count: tokens read by the model that training holds to",
    "budget/rollout_tokens": "count: tokens read and drawn to sample answers",
    "budget/images": "count: image encodings",
    "budget/flops": "operations: floating-point operations, counted from sizes",
}
DOSE = {
    "dose/kl": "nats: divergence from the base on frozen responses, a token",
    "dose/{tower,projector,language}": "ratio: norm of a part's change over that of its weights",
}
PAIRS = {
    "pairs/items": "count: training questions",
    "pairs/kept": "count: of these in the pairs: the base missed them at least once",
    "pairs/dropped": "count: left out, since the base never missed them",
    "pairs/given": "share: 1 where the data brought the pairs, 0 where it has no rejected answers",
    "pairs/{wrong,continuation,format}": "share: pairs whose rejected answer is of this kind",
    "pairs/fallbacks": "count: pairs whose rejected answer is of another kind than assigned",
    "pairs/continuation_misleads": "share: blind continuations that end in a wrong answer",
    "pairs/pass_at_<n>": "share: questions with a right answer among n draws of the base",
}
TRAINED = {f"train/{{first,last}}/{name}": told for name, told in CURVES.items()} | BUDGET | DOSE
JOINED = {
    f"{{align,tune}}/{{first,last}}/{name}": CURVES[name]
    for name in ("loss", "grad_norm", "entropy", "mean_token_accuracy")
}
METRICS = {
    "joined": JOINED,
    "pairs": PAIRS,
    "none": BUDGET | DOSE,
    **dict.fromkeys(("sft", "dpo", "grpo"), TRAINED),
    "checkpoint": DOSE,
}
"""By stage, each metric's pattern, its unit and what it means."""
