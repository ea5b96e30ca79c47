"""Questions about a scene, their answers in three forms, and which words depend on the image.

Forms, chosen by the end of the prompt: `rationale` (evidence, then the answer), `answer` (one
fixed phrase) and `word` (the bare word). An item's `depends` marks the response words that could
not be known without the image (or its textual twin).
"""

from dataclasses import dataclass

import numpy as np

from steps.data.language import View
from steps.data.speech import ANY, DRAWN, NUMBERS, RELATIONS, photographs

FORMS = ("rationale", "answer", "word")
ASK = {
    "a": {"rationale": "explain first .", "answer": "answer only .", "word": "one word ."},
    "b": {"rationale": "think step by step .", "answer": "just answer .", "word": "in a word ."},
}
"""How a prompt asks for each form, by style."""
LEAD = {"a": "answer : ", "b": "the answer is "}
"""What stands before the answer word in the forms that are not one word."""
CHOICES = {**photographs().choices, **DRAWN.choices}
"""The closed answer set of each kind, of either world; a fact's is that of what it asks about."""


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
    speech, every = view.speech, range(len(view))
    own = view.look[speech.noun] if hide in speech.nouned else [ANY for _ in every]
    ways = speech.ways[hide]

    def phrase(j: int, way: tuple[str, ...]) -> str:
        return " ".join([*(view.look[of][j] for of in way), own[j]])

    fits = [w for w in ways if sum(phrase(j, w) == phrase(k, w) for j in every) == 1]
    return phrase(k, fits[rng.integers(len(fits))]) if fits else None


def _attribute(view: View, kind: str, rng) -> Question | None:
    values = view.speech.choices[kind]
    if kind in view.speech.many:
        values = sorted({value for value in view.look[kind] if value})
    if not values:
        return None
    value = values[rng.integers(len(values))]
    ks = [k for k in range(len(view)) if view.look[kind][k] == value]
    if not ks:
        return None
    k = ks[rng.integers(len(ks))]
    ref = _unique(view, k, kind, rng)
    if ref is None:
        return None
    said = f"a {value}" if kind == view.speech.noun else value
    text = f"the {ref} is at the {view.place[k]} . it is {said} ."
    return Question(
        kind, value, (ref,), text, frozenset([value, *view.place[k].split()]), (view.rows[k],)
    )


def _count(view: View, rng) -> Question | None:
    speech = view.speech
    target = int(rng.integers(0, 5))
    names = [(value, of) for of in speech.counted for value in speech.choices[of]]
    fits = [(n, of) for n, of in names if view.look[of].count(n) == target]
    if not fits:
        return None
    name, attribute = fits[rng.integers(len(fits))]
    plural = speech.plural.get(name, f"{name} objects")
    ks = [k for k in range(len(view)) if view.look[attribute][k] == name]
    text = " , ".join(f"one at the {view.place[k]}" for k in ks) + " ." if ks else "i see none ."
    seen = {"one", "none", *(w for k in ks for w in view.place[k].split())}
    rows = tuple(view.rows[k] for k in ks)
    return Question("count", NUMBERS[target], (plural,), text, frozenset(seen), rows)


def _existence(view: View, rng) -> Question | None:
    one, other = view.speech.pair
    firsts, seconds = view.look[one], view.look[other]
    tail = "" if other == view.speech.noun else f" {ANY}"
    there = set(zip(firsts, seconds, strict=True))
    if rng.random() < 0.5:
        k = int(rng.integers(len(view)))
        ref = f"{firsts[k]} {seconds[k]}{tail}"
        text = f"i see one at the {view.place[k]} ."
        seen = frozenset(["one", *view.place[k].split()])
        return Question("existence", "yes", (ref,), text, seen, (view.rows[k],))
    # Absent, but as near as can be: both attributes are there, if possible.
    near = [(a, b) for a in firsts for b in seconds if (a, b) not in there]
    every = ((a, b) for a in view.speech.choices[one] for b in view.speech.choices[other])
    away = [pair for pair in every if pair not in there]
    pool = near if near and rng.random() < 0.7 else away
    first, second = pool[rng.integers(len(pool))]
    ref = f"{first} {second}{tail}"
    return Question("existence", "no", (ref,), "i see none .", frozenset(["none"]))


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
    facts = view.speech.facts
    about = list(facts)[rng.integers(len(facts))]
    names = list(facts[about])
    name = names[rng.integers(len(names))]
    text = "that is common knowledge ."
    return Question("fact", facts[about][name], (name, about), text, frozenset())


def ask(view: View, kind: str, rng: np.random.Generator) -> Question | None:
    """A random question of a kind about a scene, None where the scene allows none.

    Answers are drawn before objects, so that within a kind they come out as even as the scenes
    allow; where there are many, of those that the scene shows.
    """
    if kind in view.look:
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
    if q.kind in ("color", "shape", "category", "size"):
        text = f"what {q.kind} is the {s[0]} ?"
        text = text if style == "a" else f"name the {q.kind} of the {s[0]} ."
    elif q.kind == "name":
        text = (
            f"what is the {s[0]} called ?" if style == "a" else f"say what the {s[0]} is called ."
        )
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
