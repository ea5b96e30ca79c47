"""The part of an answer that is the answer: what it announces as such, else all of it."""

import re

PHRASES = (r"final answer\s*(?::|is\b:?)", r"answer\s*(?::|is\b:?)")
"""What announces an answer, case aside; the last one in a text counts."""
_PHRASE = re.compile("|".join(PHRASES), re.IGNORECASE)
_TAGGED = re.compile(r"<answer>(.*?)</answer>", re.IGNORECASE | re.DOTALL)
_BOXED = re.compile(r"\\boxed\s*{")


def announced(text: str) -> str | None:
    r"""What a text announces as its answer, None where it announces none.

    The last `\boxed{...}`, else the last `<answer>...</answer>`, else what follows the last of
    PHRASES on its line (or, where that is empty, on the next one).
    """
    if (inner := boxed(text)) is not None:
        return inner
    if tagged := _TAGGED.findall(text):
        return tagged[-1].strip()
    if phrases := list(_PHRASE.finditer(text)):
        rest = text[phrases[-1].end() :].strip(" \t*:")
        return rest.strip().split("\n", 1)[0].strip(" \t*")
    return None


def boxed(text: str) -> str | None:
    r"""What stands in the last `\boxed{...}` that is closed, braces within it counted."""
    for start in reversed([found.end() for found in _BOXED.finditer(text)]):
        depth = 1
        for at in range(start, len(text)):
            depth += {"{": 1, "}": -1}.get(text[at], 0)
            if not depth:
                return text[start:at].strip()
    return None


def answer(text: str) -> str:
    """What is read as the answer: what is announced, else the whole text."""
    found = announced(text)
    return text.strip() if found is None else found


def kept(text: str, prompt: str) -> str | None:
    r"""The answer where a text keeps to the form that its prompt asks for, else None.

    A prompt that names `\boxed` wants one at the text's end, one that names a phrase wants that
    phrase in the text's last line; any other wants the answer and nothing else.
    """
    if "\\boxed" in prompt:
        whole = len(_BOXED.findall(text)) == 1 and text.strip(" \t\n.$").endswith("}")
        return boxed(text) if whole else None
    if _PHRASE.search(prompt):
        last = text.strip().rsplit("\n", 1)[-1]
        return announced(last) if len(_PHRASE.findall(last)) == 1 else None
    return text.strip()
