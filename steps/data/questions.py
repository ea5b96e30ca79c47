"""Questions about a scene, their answers in three forms, and which words depend on the image.

Forms, chosen by the end of the prompt: `rationale` (evidence, then the answer), `answer` (one
fixed phrase) and `word` (the bare word). An item's `depends` marks the response words that could
not be known without the image (or its textual twin).
"""

from dataclasses import dataclass

import numpy as np

from steps.data.language import COLOR_NAMES, FACTS, NUMBERS, PLURAL, RELATIONS, View
from steps.data.sprites import LETTERS, SHAPES
from steps.data.world import SIZES

KINDS = ("color", "shape", "size", "count", "existence", "relation", "glyph", "fact")
FORMS = ("rationale", "answer", "word")
ASK = {
    "a": {"rationale": "explain first .", "answer": "answer only .", "word": "one word ."},
    "b": {"rationale": "think step by step .", "answer": "just answer .", "word": "in a word ."},
}
"""How a prompt asks for each form, by style."""
LEAD = {"a": "answer : ", "b": "the answer is "}
"""What stands before the answer word in the forms that are not one word."""
CHOICES = {
    "color": COLOR_NAMES,
    "shape": SHAPES,
    "size": SIZES,
    "count": NUMBERS[:5],
    "existence": ("yes", "no"),
    "relation": RELATIONS,
    "glyph": tuple(c.lower() for c in LETTERS),
}
"""The closed answer set of each kind; a fact's is that of what it asks about."""


@dataclass(frozen=True)
class Question:
    """A question's bare content, before a style and a form are chosen.

    value: the canonical answer. subject: the noun phrases that the prompt names. evidence: the
    rationale's sentences. seen: those of its words that depend on the image. objects: rows of the
    scene's arrays that the question is about.
    """

    kind: str
    value: str
    subject: tuple[str, ...]
    evidence: str
    seen: frozenset[str]
    objects: tuple[int, ...] = ()

    @property
    def choices(self) -> tuple[str, ...]:
        """The closed answer set that the value belongs to."""
        return CHOICES[self.subject[1] if self.kind == "fact" else self.kind]


def _unique(view: View, k: int, hide: str, rng) -> str | None:
    """A noun phrase that fits object k alone and does not say its attribute `hide`."""
    tails = {"color": view.shape, "shape": ["object"] * len(view)}.get(hide, view.shape)
    ways = {
        "color": [("",), ("size",)],
        "shape": [("color",), ("size", "color")],
        "size": [("color",), ("",)],
        "": [("color",), ("size", "color")],
    }[hide]

    def phrase(j: int, way: tuple[str, ...]) -> str:
        return " ".join([getattr(view, w)[j] for w in way if w] + [tails[j]])

    fits = [w for w in ways if sum(phrase(j, w) == phrase(k, w) for j in range(len(view))) == 1]
    return phrase(k, fits[rng.integers(len(fits))]) if fits else None


def _attribute(view: View, kind: str, rng) -> Question | None:
    value = CHOICES[kind][rng.integers(len(CHOICES[kind]))]
    ks = [k for k in range(len(view)) if getattr(view, kind)[k] == value]
    if not ks:
        return None
    k = ks[rng.integers(len(ks))]
    ref = _unique(view, k, kind, rng)
    if ref is None:
        return None
    said = f"a {value}" if kind == "shape" else value
    text = f"the {ref} is at the {view.place[k]} . it is {said} ."
    return Question(
        kind, value, (ref,), text, frozenset([value, *view.place[k].split()]), (view.rows[k],)
    )


def _count(view: View, rng) -> Question | None:
    target = int(rng.integers(0, 5))
    names = [(c, "color") for c in COLOR_NAMES] + [(s, "shape") for s in SHAPES]
    fits = [(n, a) for n, a in names if getattr(view, a).count(n) == target]
    if not fits:
        return None
    name, attribute = fits[rng.integers(len(fits))]
    plural = f"{name} objects" if attribute == "color" else PLURAL[name]
    ks = [k for k in range(len(view)) if getattr(view, attribute)[k] == name]
    text = " , ".join(f"one at the {view.place[k]}" for k in ks) + " ." if ks else "i see none ."
    seen = {"one", "none", *(w for k in ks for w in view.place[k].split())}
    rows = tuple(view.rows[k] for k in ks)
    return Question("count", NUMBERS[target], (plural,), text, frozenset(seen), rows)


def _existence(view: View, rng) -> Question | None:
    there = {(c, s) for c, s in zip(view.color, view.shape, strict=True)}
    if rng.random() < 0.5:
        k = int(rng.integers(len(view)))
        ref = f"{view.color[k]} {view.shape[k]}"
        text = f"i see one at the {view.place[k]} ."
        seen = frozenset(["one", *view.place[k].split()])
        return Question("existence", "yes", (ref,), text, seen, (view.rows[k],))
    # Absent, but as near as can be: a colour and a shape that are both there, if possible.
    near = [(c, s) for c in view.color for s in view.shape if (c, s) not in there]
    away = [(c, s) for c in COLOR_NAMES for s in SHAPES if (c, s) not in there]
    pool = near if near and rng.random() < 0.7 else away
    color, shape = pool[rng.integers(len(pool))]
    return Question("existence", "no", (f"{color} {shape}",), "i see none .", frozenset(["none"]))


def _relation(view: View, rng) -> Question | None:
    wanted = RELATIONS[rng.integers(4)]
    pairs = [(a, b) for a, b in view.pairs if view.relation(a, b) == wanted]
    if not pairs:
        return None
    a, b = pairs[rng.integers(len(pairs))]
    refs = _unique(view, a, "", rng), _unique(view, b, "", rng)
    if None in refs:
        return None
    text = f"the {refs[0]} is at the {view.place[a]} . the {refs[1]} is at the {view.place[b]} ."
    seen = frozenset([*view.place[a].split(), *view.place[b].split()])
    return Question("relation", wanted, refs, text, seen, (view.rows[a], view.rows[b]))


def _glyph(view: View, rng) -> Question | None:
    if view.letter is None:
        return None
    text = f"there is a letter at the {view.letter_place} . it is {view.letter} ."
    return Question("glyph", view.letter, (), text, frozenset(view.letter_place.split()))


def _fact(view: View, rng) -> Question:
    about = list(FACTS)[rng.integers(len(FACTS))]
    names = list(FACTS[about])
    name = names[rng.integers(len(names))]
    text = "that is common knowledge ."
    return Question("fact", FACTS[about][name], (name, about), text, frozenset())


def ask(view: View, kind: str, rng: np.random.Generator) -> Question | None:
    """A random question of a kind about a scene, None where the scene allows none.

    Answers are drawn before objects, so that within a kind they come out as even as the scenes
    allow.
    """
    if kind in ("color", "shape", "size"):
        return _attribute(view, kind, rng)
    makers = {
        "count": _count,
        "existence": _existence,
        "relation": _relation,
        "glyph": _glyph,
        "fact": _fact,
    }
    return makers[kind](view, rng)


def prompt(q: Question, style: str, form: str) -> str:
    """The question in words, ending in how it wants to be answered."""
    s = q.subject
    if q.kind in ("color", "shape", "size"):
        text = f"what {q.kind} is the {s[0]} ?"
        text = text if style == "a" else f"name the {q.kind} of the {s[0]} ."
    elif q.kind == "count":
        text = f"how many {s[0]} are there ?" if style == "a" else f"count the {s[0]} ."
    elif q.kind == "existence":
        an = "an" if s[0].startswith("orange") else "a"
        text = f"is there {an} {s[0]} ?" if style == "a" else f"does the picture show {an} {s[0]} ?"
    elif q.kind == "relation":
        text = f"where is the {s[0]} relative to the {s[1]} ?"
        text = text if style == "a" else f"on which side of the {s[1]} is the {s[0]} ?"
    elif q.kind == "glyph":
        text = "what letter is shown ?" if style == "a" else "read the letter ."
    elif s[1] == "count":
        text = f"how many legs has a {s[0]} ?" if style == "a" else f"count the legs of a {s[0]} ."
    else:
        text = f"what {s[1]} has a {s[0]} ?" if style == "a" else f"name the {s[1]} of a {s[0]} ."
    return f"{text} {ASK[style][form]}"


def response(q: Question, style: str, form: str) -> tuple[str, list[int]]:
    """The reference response and, word by word, whether it depends on the image (1) or not (0)."""
    answer = (LEAD[style] if form != "word" else "") + q.value
    words = (q.evidence + " " if form == "rationale" else "") + answer
    seen = q.seen if q.kind == "fact" else q.seen | {q.value}
    return words, [int(w in seen) for w in words.split()]
