"""The words of the world: captions, textual twins, and facts that need no image.

Two styles: `a` is the one of stage 1, `b` the one that post-training data is shifted towards, as
the papers' post-training data differ from their instruct data. All text is lower case words
separated by single blanks, so a word is a token.
"""

from functools import cached_property

import numpy as np

from steps.data.speech import ANY, DRAWN, NUMBERS, RELATIONS, Speech, photographs
from steps.data.sprites import GROUNDS, LETTERS, PLATE
from steps.data.world import SIZES, Scenes

GROUND_NAMES = tuple(GROUNDS)
ROWS, COLUMNS = ("top", "middle", "bottom"), ("left", "center", "right")
GAP = 10
"""By so many pixels one direction has to lead the other for there to be a relation."""
_GLUE = (
    "user : assistant a an the is are at of on and there what name tell me does picture show how "
    "many count which side where relative to i see look it none letter shown read ? . , that "
    "common knowledge has leg legs answer only explain first one word think step by just in so "
    "scene describe caption write down ground object objects color shape size item items ; with "
    "no nothing left right above below yes holds contains kind seen here being its lies whose"
).split()


def vocabulary(speech: Speech = DRAWN) -> list[str]:
    """Every word of a world, each once, in an order that never changes."""
    words = [*_GLUE, *speech.glue]
    drawn = [*speech.nouns, *speech.plural.values(), *speech.adjectives]
    words += [*drawn, *GROUND_NAMES, *SIZES, *NUMBERS]
    words += [*ROWS, *COLUMNS, *RELATIONS, *(c.lower() for c in LETTERS)]
    words += [name for table in speech.facts.values() for name in table]
    return list(dict.fromkeys(words))


def place(s: Scenes, x: float, y: float) -> str:
    """The cell of a 3 x 3 grid that a point lies in: `top left` to `bottom right`."""
    third = s.canvas / 3
    return f"{ROWS[min(int(y / third), 2)]} {COLUMNS[min(int(x / third), 2)]}"


class View:
    """One scene as plain Python values, for writing text about it.

    speech: its world's. look: each object's value of an attribute; of a photograph without a noun
    the name is None.
    """

    def __init__(self, s: Scenes, i: int):
        here = np.flatnonzero(s.shape[i] >= 0)
        order = here[np.lexsort((s.x[i, here], s.y[i, here] // 8))]  # as one reads a page
        self.rows = order.tolist()
        self.speech = photographs() if s.bank else DRAWN
        self.look: dict[str, list] = {"size": [SIZES[v] for v in s.size[i, order]]}
        if s.bank:
            told = [s.bank.nouns[v] for v in s.photo[i, order]]
            self.look["name"] = [noun if noun in self.speech.nouns else None for noun in told]
            self.look["category"] = [self.speech.adjectives[v] for v in s.shape[i, order]]
        else:
            self.look["shape"] = [self.speech.nouns[v] for v in s.shape[i, order]]
            self.look["color"] = [self.speech.adjectives[v] for v in s.color[i, order]]
        self.x, self.y = s.x[i, order].tolist(), s.y[i, order].tolist()
        self.place = [place(s, x, y) for x, y in zip(self.x, self.y, strict=True)]
        self.ground = GROUND_NAMES[s.ground[i]]
        self.letter = LETTERS[s.letter[i]].lower() if s.letter[i] >= 0 else None
        self.letter_place = place(s, s.lx[i] + PLATE[1] / 2, s.ly[i] + PLATE[0] / 2)
        x, y, half = s.x[i, order], s.y[i, order], s.d[i, order] / 2
        self.boxes = np.stack([x - half, y - half, x + half, y + half], 1).tolist()
        self.letter_box = [s.lx[i], s.ly[i], s.lx[i] + PLATE[1], s.ly[i] + PLATE[0]]
        self.canvas = s.canvas

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def pairs(self) -> list[tuple[int, int]]:
        """Ordered pairs of objects whose relation may be asked for; a text may allow fewer."""
        every = range(len(self))
        return [(a, b) for a in every for b in every if a != b and self.relation(a, b)]

    def name(self, k: int) -> str:
        """Object k in full, without an article: `large red circle`."""
        size, adjective, noun = (
            self.look[of][k] for of in ("size", self.speech.adjective, self.speech.noun)
        )
        return f"{size} {adjective} {noun or ANY}"

    def relation(self, a: int, b: int) -> str | None:
        """Where a lies relative to b; None where no direction leads by GAP pixels."""
        dx, dy = self.x[a] - self.x[b], self.y[a] - self.y[b]
        if abs(abs(dx) - abs(dy)) < GAP:
            return None
        if abs(dx) > abs(dy):
            return "left" if dx < 0 else "right"
        return "above" if dy < 0 else "below"


def relations(a: str, b: str, canvas: int) -> frozenset[str]:
    """Relations that something in the cell a may have to something in the cell b.

    a, b: cells as `place` names them, on a canvas of so many pixels. All four for one cell; else
    those that some two points in the cells have by the rule of `View.relation`.
    """
    third = canvas / 3
    (row, column), (other_row, other_column) = a.split(), b.split()
    dy = ROWS.index(row) - ROWS.index(other_row)
    dx = COLUMNS.index(column) - COLUMNS.index(other_column)

    def may(ahead: int, across: int) -> bool:
        # Points lie up to a cell further apart than their cells do, and up to a cell nearer.
        return (ahead + 1) * third - max(abs(across) - 1, 0) * third > GAP

    ways = {"left": (-dx, dy), "right": (dx, dy), "above": (-dy, dx), "below": (dy, dx)}
    return frozenset(name for name, way in ways.items() if may(*way))


def caption(view: View, style: str = "a") -> str:
    """A dense caption: every object in reading order with its place, the letter, the ground."""
    parts = [f"a {view.name(k)} at the {view.place[k]}" for k in range(len(view))]
    if view.letter:
        parts.append(f"the letter {view.letter} at the {view.letter_place}")
    if style == "a":
        return " , ".join(parts) + f" on a {view.ground} ground ."
    return f"here the ground is {view.ground} ; " + " and ".join(parts) + " ."


def regions(view: View) -> list[tuple[str, list[float]]]:
    """The dense caption's content phrase by phrase, each with the box that it speaks of.

    Words without glue (`large red circle top left`); boxes are left, top, right, bottom in pixels.
    """
    found = [(f"{view.name(k)} {view.place[k]}", view.boxes[k]) for k in range(len(view))]
    if view.letter:
        found.append((f"letter {view.letter} {view.letter_place}", view.letter_box))
    return [*found, (f"{view.ground} ground", [0, 0, view.canvas, view.canvas])]


def contents(view: View) -> list[list[str]]:
    """Everything in a scene by its words and its place: [`large red circle`, `top left`], ...

    The letter comes last, as `letter k`.
    """
    found = [[view.name(k), view.place[k]] for k in range(len(view))]
    return found + ([[f"letter {view.letter}", view.letter_place]] if view.letter else [])


def told(things: list[list[str]]) -> str:
    """A scene's `contents` as a textual twin, without relations and ground."""
    parts = [f"{'the' if n.startswith('letter ') else 'a'} {n} at the {p}" for n, p in things]
    return "scene : " + " ; ".join(parts) + " ."


def twin(
    view: View, rng: np.random.Generator, relations: int = 2
) -> tuple[str, list[tuple[int, int]]]:
    """The textual twin of a scene: its caption's facts in any order, with some relations.

    It stands where the image would stand, so that a language model that has never seen an image
    can learn what the questions mean. Returns the text and the pairs of objects whose relation
    follows from it: those that it states, either way round, and those that lie in one row or one
    column of the grid. Of any others a text-only model could but guess.
    """
    stated: set[tuple[int, int]] = set()
    parts = [f"a {view.name(k)} at the {view.place[k]}" for k in rng.permutation(len(view))]
    for _ in range(relations if len(view) > 1 else 0):
        a, b = rng.choice(len(view), 2, replace=False)
        where = view.relation(a, b)
        if where:
            of = "of the" if where in ("left", "right") else "the"
            parts.append(f"the {view.name(a)} is {where} {of} {view.name(b)}")
            stated |= {(int(a), int(b)), (int(b), int(a))}
    if view.letter:
        parts.append(f"the letter {view.letter} at the {view.letter_place}")
    parts.append(f"the ground is {view.ground}")
    known = [p for p in view.pairs if p in stated or _aligned(view, *p)]
    return "scene : " + " ; ".join(parts) + " .", known


def _aligned(view: View, a: int, b: int) -> bool:
    """Whether two places in the grid say by themselves how a lies relative to b."""
    (row, column), (other_row, other_column) = view.place[a].split(), view.place[b].split()
    axis = ("left", "right") if row == other_row else ("above", "below")
    return (row == other_row) != (column == other_column) and view.relation(a, b) in axis
