"""What the mirror says of its store: one sentence, and never a password.

An address, a library's message that quotes it, and what a database answers all pass through here
before they reach a terminal or a log.
"""

import re

SECRETS = [
    (re.compile(r"(://[^/:@\s]*):\S*@"), r"\1:***@"),  # user:password@host
    (re.compile(r"(https?://)[^/:@\s]+@"), r"\1***@"),  # token@host
    (re.compile(r"(?i)([?&][\w-]*(?:password|passwd|pwd|token|secret)=)[^&\s'\"]*"), r"\1***"),
]


def masked(text: str) -> str:
    """The text with the passwords of all addresses in it blotted out."""
    for pattern, shown in SECRETS:
        text = pattern.sub(shown, text)
    return text


def said(error: BaseException) -> str:
    """What an error of MLflow's says, on one line, with what to do where that is known."""
    text = masked(" ".join(str(error).split()))
    if isinstance(error, ConnectionError):  # of ours: a sentence already
        return text
    if found := re.search(r"out-of-date database schema \(found version (\w+)", text):
        return (
            f"the runs' database is of another MLflow (its schema is {found[1]}): take a copy of "
            "it, then run `mlflow db upgrade <its address>`, or use the MLflow that it is of"
        )
    if re.search(r"error code (401|403)\b", text):
        return (
            "MLflow's server does not let you in: set MLFLOW_TRACKING_USERNAME and "
            f"MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN ({text[:200]})"
        )
    return f"{type(error).__name__}: {text[:600]}"
