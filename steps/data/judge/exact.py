"""Exact: the same words once both texts are made alike, as the evaluation of VQA does.

After the VQA v2 evaluation (Antol et al. 2015, 1505.00468, 3 and its code): lower case, number
words as digits, no articles, no punctuation but in numbers. Apostrophes are dropped instead of put
where they belong, which makes the same words equal.
"""

import re

from steps.data.judge.announce import announced

NUMBERS = dict(zip("none zero one two three four five six seven eight nine ten".split(),
               "0 0 1 2 3 4 5 6 7 8 9 10".split(), strict=True))  # fmt: skip
ARTICLES = {"a", "an", "the"}
_APOSTROPHE = re.compile("['\u2019`]")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_OTHER = re.compile(r"(?<!\d)[.\-](?=\s|$)|[.](?!\d)|(?<=\D)[.](?=\D)|[^\w\s.%/+\-]|_")


def normalised(text: str) -> str:
    """A text as it is compared."""
    plain = _OTHER.sub(" ", _THOUSANDS.sub("", _APOSTROPHE.sub("", text.lower())))
    words = (NUMBERS.get(word, word) for word in plain.split())
    return " ".join(word for word in words if word not in ARTICLES) or " ".join(plain.split())


def read(text: str, value: str) -> str:
    """The answer that a text gives, normalised.

    It is what the text announces, or all of it: whichever is right, if one is.
    """
    whole, told = normalised(text), announced(text)
    if told is None or whole == normalised(value):
        return whole
    return normalised(told)


def right(text: str, value: str) -> bool:
    """Whether a text gives the answer `value`; an empty one never does."""
    said = read(text, value)
    return bool(said) and said == normalised(value)
