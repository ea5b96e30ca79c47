"""Questions further from training than any other: the third step of a ladder of generalisation.

After SEED-Bench-R1 (2503.24376), which judges in distribution, in a new environment, and in a new
environment with a new task. Here the steps are judged questions, those on new combinations, and
these: a new combination among more objects than training ever shows, asked about in a wording that
no training text has. Training uses every word of it, so only how they stand together is new; of
several wordings those were taken that the base of the drawn world mostly answers with a word of the
right kind, since an arm can rise and fall only where the question is understood. The base of
photographs understands half of them: how far the wording itself leads is told by the facts, which
need no image.
"""

from typing import Any

from steps.data.questions import ASK, Question


def crowded(world: Any) -> Any:
    """The section `world` with one or two more objects in each scene than the most it allows."""
    most = world.objects[1]
    return world.model_copy(update={"objects": [most + 1, most + 2]})


def reworded(q: Question, style: str, form: str) -> str:
    """The question in a third wording; how it wants to be answered is put as `prompt` puts it."""
    s = q.subject
    if q.kind in ("color", "shape", "category", "size"):
        text = f"the {s[0]} is of which {q.kind} ?"
    elif q.kind == "name":
        text = f"the {s[0]} is called what ?"
    elif q.kind == "count":
        text = f"how many {s[0]} are in the picture ?"
    elif q.kind == "existence":
        an = "an" if s[0].startswith("orange") else "a"
        text = f"there is {an} {s[0]} in the picture ?"
    elif q.kind == "relation":
        text = f"the {s[0]} is on which side of the {s[1]} ?"
    elif q.kind == "glyph":
        text = "what is the letter ?"
    elif s[1] == "count":
        text = f"a {s[0]} has how many legs ?"
    else:
        text = f"a {s[0]} is of which {s[1]} ?"
    return f"{text} {ASK[style][form]}"
