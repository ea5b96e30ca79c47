"""What it takes to look inside the language model."""

from steps.diff import planted as atoms
from steps.diff.arrows import ARROWS
from steps.study.costs import formulas
from steps.study.costs.behaviour import answers
from steps.study.costs.work import Case, Work, read

LOOKS = 14
"""Times that dictionaries are read on a cell in `compare`: nine on their own, five elsewhere."""

CALLS = 4
"""What a step of a dictionary costs besides its products, in layers run."""


def sites(case: Case) -> int:
    """Places in the language model that are read."""
    return len(case.params.diff.layers) * len(case.params.diff.sites)


def cell(case: Case, image: bool) -> Work:
    """A model on all samples of the harvest, with the image or with the scene in words."""
    count = case.params.diff.tokens / case.whole
    if image:
        return read(case, count, case.whole, 1, 32)
    return read(case, count, case.talk.told + case.talk.asked + case.talk.said, 0, 32)


def stored(case: Case) -> float:
    """Bytes of all activations: four cells of 16-bit numbers at each site."""
    text = (case.talk.told + case.talk.asked + case.talk.said) / case.whole
    tokens = case.params.diff.tokens * (2 + 2 * text)
    return 2.0 * tokens * sites(case) * case.shape.language.width


def harvest(case: Case) -> Work:
    """Four cells: two models, each with the image and in words."""
    work = (cell(case, True) + cell(case, False)).times(2)
    kept = stored(case) * case.params.diff.store
    return work + Work(disk=kept, spare=kept, start="model")


def fits(case: Case, arrows: float) -> Work:
    """So many dictionaries of `diff.steps` steps a site; the model, where it has to run."""
    told, width = case.params.diff, case.shape.language.width
    tokens = told.steps * told.batch
    work = Work(fit=formulas.dictionary(width, told.width, tokens))
    work += Work(fit=24.0 * width * told.width * told.steps, calls=CALLS * told.steps)  # Adam's
    if not told.store:
        work += read(case, tokens / case.whole, case.whole, 1, 32)
    size = 4.0 * 2 * width * told.width
    return (work + Work(disk=size, spare=2 * size)).times(arrows * sites(case))


def looks(case: Case, count: float) -> Work:
    """Dictionaries that read all tokens of a cell, at each site."""
    told, width = case.params.diff, case.shape.language.width
    once = formulas.dictionary(width, told.width, told.tokens, passes=1)
    work = Work(fit=once * sites(case))
    if not told.store:
        work += cell(case, True)
    return work.times(count)


def dictionary(case: Case) -> Work:
    """Nine of them a site, and each on what was held out."""
    return fits(case, len(ARROWS)) + looks(case, 0.2 * len(ARROWS)) + Work(start="probe")


def compare(case: Case) -> Work:
    """Every dictionary on its own cell, and some elsewhere."""
    return looks(case, LOOKS) + Work(start="probe")


def planted(case: Case) -> Work:
    """Its own known atoms: the same in every study."""
    first = {of[2:]: 2 * of[2] for of in atoms.CASES.values()}  # those that cases share
    steps = sum(first.values()) + sum(of[2] for of in atoms.CASES.values())
    once = formulas.dictionary(atoms.WIDE, atoms.WIDTH, steps * atoms.BATCH)
    drawn = 2.0 * 2 * len(atoms.CASES) * 2 * atoms.TOKENS * atoms.ATOMS * atoms.WIDE
    return Work(fit=once + drawn, calls=CALLS * steps, start="probe")


def quality(case: Case) -> Work:
    """Two more dictionaries, all five read, and answers with reconstructions in place."""
    spliced = read(case, 200, case.whole, 1, 64).times(5 * 4 * sites(case))
    return fits(case, 2) + looks(case, 5) + spliced + Work(start="model")


def stability(case: Case) -> Work:
    """Dictionaries of all seeds matched, pair by pair."""
    told, seeds = case.params.diff, len(case.params.diff.seeds)
    pairs = seeds * (seeds - 1) / 2 * sites(case)
    matched = 2.0 * told.width**2 * (case.shape.language.width + 10)
    return Work(fit=pairs * matched, start="probe")


def controls(case: Case) -> Work:
    """Three models read, and dictionaries carried on to each."""
    one = cell(case, True) + fits(case, 1) + looks(case, 2)
    return one.times(3) + Work(start="model")


def turned(case: Case) -> Work:
    """An arm read, and its dictionary."""
    return cell(case, True) + fits(case, 1) + looks(case, 3) + Work(start="model")


def spatial(case: Case) -> Work:
    """Scenes plain, turned and answered, by the model after tuning and before; permutations."""
    told, width = case.params.spatial, case.params.diff.width
    work = read(case, 10 * told.scenes, case.prompt, 1, told.batch)
    work += read(case, 2 * told.scenes, case.talk.told + case.talk.asked, 0, told.batch)
    ranks = 40.0 * told.permutations * told.scenes * width * 0.2
    drawn = Work(scenes=2 * told.scenes, fit=ranks * sites(case), start="probe")
    return work + drawn


def heads(case: Case) -> Work:
    """Gradients for all heads, exact patches of some, sets exchanged and silenced."""
    told, half = case.params.heads, case.params.heads.scenes / 2
    every = case.shape.language.layers * case.shape.heads
    patched = min(told.exact + told.random, every)
    passes = patched + 6 * (1 + 2 * told.features) + 24
    work = read(case, passes * half, case.prompt, 1, told.batch)
    return work + Work(scenes=2 * told.scenes, start="model")


def intervene(case: Case) -> Work:
    """Features and their foils taken away, doses of them, groups, before tuning as well."""
    told = case.params.intervene
    features = told.features * (1 + 0.25 * told.foils)
    edits = features + told.features * len(told.doses) * 3 + len(told.groups) * 12
    rows = told.scenes / 2 + told.items
    work = read(case, edits * rows, case.talk.asked, 0, told.batch).times(sites(case))
    work += read(case, 4 * (told.scenes + told.items), case.prompt, 1, told.batch)
    return work + Work(scenes=told.scenes, start="model")


def atlas(case: Case) -> Work:
    """Judged questions read and answered, and a page of the scenes."""
    told = case.params.atlas
    work = read(case, told.items, case.whole, 1, 64) + answers(case, told.items, 64, 32)
    return work + looks(case, 1) + Work(disk=50e3 * told.features * told.scenes, start="model")


COSTS = {
    "harvest": harvest,
    "dictionary": dictionary,
    "compare": compare,
    "planted": planted,
    "quality": quality,
    "stability": stability,
    "controls": controls,
    "turned": turned,
    "spatial": spatial,
    "heads": heads,
    "intervene": intervene,
    "atlas": atlas,
}
