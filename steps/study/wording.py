"""What the page calls costs, training curves and figures of model diffing, in their order."""

COSTS = {
    "budget/steps": "optimiser steps",
    "budget/tokens": "tokens trained on",
    "budget/reference_tokens": "tokens read by the reference",
    "budget/rollout_tokens": "tokens sampled",
    "budget/images": "image encodings",
    "budget/flops": "floating-point operations",
    "dose/kl": "divergence from the base, nats a token",
    "dose/tower": "relative change, vision tower",
    "dose/projector": "relative change, projector",
    "dose/language": "relative change, language model",
}
"""What training cost, and how far it moved the model."""

CURVES = {
    "loss": "loss",
    "rewards/accuracies": "chosen over rejected",
    "rewards/margins": "reward margin",
    "reward": "reward",
    "frac_reward_zero_std": "groups without a signal",
    "kl": "divergence from the base",
    "kl_base": "divergence from the base, frozen answers",
    "gradient/share": "gradient norm from anchors, share",
    "mean_token_accuracy": "token accuracy",
    "entropy": "entropy",
    "grad_norm": "gradient norm",
    "completions/mean_length": "answer length",
    "credit/share": "share of tokens picked",
    "credit/density": "attention on the image",
    "credit/precision": "picked tokens that depend on the image",
}
"""Training curves, in the order in which an arm's are shown."""

COHERENCE = {
    "true": "true statements, of those that can be read",
    "follows": "answers that follow from their rationale",
    "true_right": "rationale wholly true, answer right",
    "true_wrong": "rationale wholly true, answer wrong",
    "false_right": "rationale not wholly true, answer right",
    "false_wrong": "rationale not wholly true, answer wrong",
    "judged": "rationales judged as a whole",
    "open": "open: nothing to follow from",
    "unread": "statements that cannot be read",
}
FAR = ("true", "follows", "unread")
"""Figures of rationales, and those of them that are told of far questions too."""

GAZE = {
    "box/enrichment": ("attention in the object's box, enrichment", False),
    "untrained/box/enrichment": ("the same, untrained (measured once)", True),
    "vas/ratio": ("visual attention score (VAS)", False),
    "heads/effective": ("heads that hold the visual-head score", False),
    "drop/anchors": ("anchors blind", False),
    "drop/random": ("as many words by chance blind", True),
    "drop/lowest": ("as many of the lowest blind", True),
    "drop/anchors-random": ("anchors minus words by chance", False),
    "drop/heads": ("visual heads silenced", False),
    "drop/random_heads": ("other heads of their layers silenced", True),
    "drop/heads-random_heads": ("visual minus other heads", False),
}
"""Figures of where the language model looks that are not shares, and whether their row is inner."""
