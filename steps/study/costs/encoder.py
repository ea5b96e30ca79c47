"""What it takes to look at the vision tower."""

from steps.study.costs.behaviour import answers
from steps.study.costs.data import PHOTOS, probe_images
from steps.study.costs.models import asked, recipe
from steps.study.costs.work import Case, Work, read, train

LABELS = 6
"""Columns of labels that a ridge probe is fitted to (`steps.data.probes.tiers`, photographs)."""
MAPS = 3
"""Kinds of segmentation maps: shapes, textures, photographs."""
CLASSES = 8
"""Classes of such a map, about."""
LOSSES = 4
"""Losses whose gradients are mapped (`steps.encoder.saliency`)."""


def places(case: Case) -> int:
    """Places of the encoder that are probed."""
    return 1 + case.params.extract.projector + len(case.params.features.layers)


def extract(case: Case) -> Work:
    """The tower is cut out, and a few images are read twice."""
    tower = case.shape.sizes["tower"] + case.shape.sizes["projector"]
    return read(case, 8, 0, 1, 4) + Work(disk=4.0 * tower, start="model")


def features(case: Case) -> Work:
    """Each image once; patch tokens of the images with maps are kept, means of all others."""
    images, told = probe_images(case), case.params.probes
    work = read(case, images, 0, 1, case.params.features.batch)
    maps = told.segment_train + told.segment_test + PHOTOS * case.photos
    tokens = maps * case.shape.patches + images
    wide = max(case.shape.tower.width, case.shape.language.width)
    return work + Work(disk=2.0 * places(case) * tokens * wide, start="model")


def classify(case: Case) -> Work:
    """Ridge: a Gram matrix, its factors, and a solution a penalty; digits in small draws."""
    return _ridge(case).times(places(case)) + Work(start="data")


def _ridge(case: Case) -> Work:
    told, made = case.params.classify, case.params.probes
    wide = max(case.shape.tower.width, case.shape.language.width)
    images = made.classify_train + made.classify_test
    sets = 1 + case.photos + len(made.images)
    gram = sets * (2.0 * images * wide**2 + 20.0 * wide**3)
    others = len(set(told.kinds) - {"ridge"})
    rivals = others * LABELS * 200.0 * images * wide * CLASSES
    draws = 2 * told.digits_draws
    few = draws * (2.0 * 10 * told.digits_per_class * wide**2 + 20.0 * wide**3)
    views = 2 if told.pca else 1
    return Work(probe=views * (gram + rivals + few), disk=1000.0 * images)


def segment(case: Case) -> Work:
    """A linear head on patches, each rate and once more, upsampled to the map."""
    return _heads(case).times(places(case)) + Work(start="probe")


def _heads(case: Case) -> Work:
    told, made, shape = case.params.segment, case.params.probes, case.shape
    wide = max(shape.tower.width, shape.language.width)
    scenes = made.segment_train + 0.5 * PHOTOS * case.photos
    side = case.params.world.canvas
    each = 6.0 * shape.patches * wide * CLASSES + 60.0 * side**2 * CLASSES
    seen = MAPS * scenes * (len(told.rates) + 1) * told.epochs
    patch = 6.0 * shape.patches * wide * max(told.patch_hidden, CLASSES)
    return Work(probe=seen * each + MAPS * scenes * 2 * told.patch_epochs * patch)


def baselines(case: Case) -> Work:
    """Both probes on the original tower, a random one and pixels."""
    images = probe_images(case)
    seen = read(case, 2 * images, 0, 1, case.params.features.batch)
    return seen + (_ridge(case) + _heads(case)).times(3) + Work(start="model")


def drift(case: Case) -> Work:
    """Two towers on the same images, texts about them, and draws of intervals."""
    told = case.params.drift
    work = read(case, 2 * told.images, 0, 1, told.batch)
    work += read(case, told.images, case.talk.told, 0, told.batch)
    near = 2.0 * told.images**2 * case.shape.tower.width
    layers = case.shape.tower.layers + 2
    fit = layers * (20 * near + 2.0 * 4096 * case.shape.tower.width**2)
    return work + Work(probe=fit + 40.0 * told.bootstrap * told.images**2, start="model")


def localise(case: Case) -> Work:
    """Gradients of each loss, of true and foreign answers, and of an untrained model's."""
    told = case.params.localise
    once = train(case, told.items, case.whole, 1, told.batch, ("tower",))
    return once.times(2 * LOSSES * 3 / 2) + Work(start="trainer")


def reuse(case: Case) -> Work:
    """A fresh projector and language model are trained behind the tower, and asked."""
    told, made = case.params.reuse, case.params.recipe
    tokens = asked(case, made.image_questions)
    parts = ["projector", "language", *(["tower"] if told.tower == "trained" else [])]
    work = recipe(case, told.align, tokens, 1, ("projector",))
    work += recipe(case, told.instruct, tokens, 1, parts)
    count = min(told.items, case.params.items.vqa) + told.blind
    work += answers(case, count, told.batch, told.max_tokens)
    return work + Work(disk=500.0 * count)


def newcomers(case: Case) -> Work:
    """The same with the original tower and larger ones, which are taken to be as large as it."""
    return reuse(case).times(1 + len(case.params.reuse.encoders))


def cost(case: Case) -> Work:
    """A few batches are drawn and counted."""
    made = case.params.recipe
    return Work(scenes=6 * (made.tower.batch + 3 * made.instruct.batch), start="model")


COSTS = {
    "extract": extract,
    "features": features,
    "classify": classify,
    "segment": segment,
    "baselines": baselines,
    "drift": drift,
    "localise": localise,
    "reuse": reuse,
    "newcomers": newcomers,
    "cost": cost,
}
