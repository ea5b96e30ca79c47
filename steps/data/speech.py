"""What objects are told apart by, in words: drawn ones by colour and shape, photographs by kind.

Every object has an adjective, a noun and a size: a `large red circle`, a `small animal bird`. The
adjective of a photograph is its category; its noun is the one in `stamps.csv`, or `object`, since
not every photograph has one. Which phrases may name an object without giving an answer away, and
what may be counted, differs between the two worlds and stands here; all else is shared.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

from steps.data.sprites import COLORS, LETTERS, SHAPES
from steps.data.stamps import words
from steps.data.world import SIZES

NUMBERS = ("zero", "one", "two", "three", "four", "five")
RELATIONS = ("left", "right", "above", "below")
LEGS = {"snake": "zero", "pole": "one", "bird": "two", "stool": "three", "dog": "four"}
ANY = "object"
"""What any object may be called."""


@dataclass(frozen=True)
class Speech:
    """The words of a world, and what may be said with them.

    adjective, noun: the attributes that these words are values of, which are kinds of questions
    too. adjectives, nouns: their values. maps: what maps of a scene's pixels tell apart, in the
    order of `Scenes.shape`; the values of `mapped`, which is one of the two attributes.
    plural: of nouns; what is not there is counted as `red objects`.
    ways: for the attribute that is asked about (empty where none is hidden), the attributes before
    the noun in phrases that may name an object; `nouned` lists those whose noun is the object's
    own, all others end in `object`. counted: attributes whose values may be counted. pair: two
    attributes that are asked for together, is there such an object?, and whether a noun closes
    the phrase. facts: by what is asked, what has it, and what it is. many: attributes of so many
    values that a scene seldom shows a given one.
    """

    adjective: str
    noun: str
    adjectives: tuple[str, ...]
    nouns: tuple[str, ...]
    mapped: str
    plural: dict[str, str]
    ways: dict[str, tuple[tuple[str, ...], ...]]
    nouned: frozenset[str]
    counted: tuple[str, ...]
    pair: tuple[str, str]
    facts: dict[str, dict[str, str]]
    many: frozenset[str] = frozenset()
    glue: tuple[str, ...] = ()
    letters: bool = True

    @property
    def maps(self) -> tuple[str, ...]:
        """The names of what maps of pixels tell apart, 1 for the first."""
        return self.adjectives if self.mapped == self.adjective else self.nouns

    @property
    def choices(self) -> dict[str, tuple[str, ...]]:
        """The closed answer set of each kind; a fact's is that of what it asks about."""
        return {
            self.adjective: self.adjectives,
            self.noun: self.nouns,
            "size": SIZES,
            "count": NUMBERS[:5],
            "existence": ("yes", "no"),
            "relation": RELATIONS,
            **({"glyph": tuple(c.lower() for c in LETTERS)} if self.letters else {}),
        }

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of questions."""
        return (*self.choices, "fact")


DRAWN = Speech(
    adjective="color",
    noun="shape",
    adjectives=tuple(COLORS),
    nouns=SHAPES,
    mapped="shape",
    plural={
        "circle": "circles",
        "square": "squares",
        "triangle": "triangles",
        "cross": "crosses",
        "star": "stars",
        "ring": "rings",
    },
    ways={
        "color": ((), ("size",)),
        "shape": (("color",), ("size", "color")),
        "size": (("color",), ()),
        "": (("color",), ("size", "color")),
    },
    nouned=frozenset(["color", "size", ""]),
    counted=("color", "shape"),
    pair=("color", "shape"),
    facts={
        "color": {
            "ruby": "red",
            "grass": "green",
            "sky": "blue",
            "lemon": "yellow",
            "plum": "purple",
            "carrot": "orange",
            "blood": "red",
            "leaf": "green",
            "ocean": "blue",
            "sun": "yellow",
            "violet": "purple",
            "pumpkin": "orange",
        },
        "shape": {
            "wheel": "ring",
            "coin": "circle",
            "window": "square",
            "roof": "triangle",
            "compass": "star",
            "plus": "cross",
        },
        "count": LEGS,
    },
)
CATEGORY = {
    "animals": "animal",
    "hobbies": "hobby",
    "plants": "plant",
    "vehicles": "vehicle",
}
"""Folders of photographs as adjectives, where they are not one already (`food`, `money`)."""


@cache
def photographs() -> Speech:
    """The speech of the world of photographs."""
    folders, nouns = words()
    kinds = {noun: CATEGORY.get(folder, folder) for noun, folder in nouns.items()}
    return Speech(
        adjective="category",
        noun="name",
        adjectives=tuple(CATEGORY.get(folder, folder) for folder in folders),
        nouns=tuple(nouns),
        mapped="category",
        plural={},
        ways={
            "category": (("size",),),
            "name": (("size",),),  # the category would give most names away
            "size": (("category",),),
            "": (("category",), ("size", "category")),
        },
        nouned=frozenset(),
        counted=("category",),
        pair=("size", "category"),
        facts={"category": kinds, "count": LEGS},
        many=frozenset(["name"]),
        glue=("category", "called", "say"),
        letters=False,
    )


def of(world: Any) -> Speech:
    """The speech of a `world` section."""
    return photographs() if world.sprites == "photos" else DRAWN
