"""What it takes to draw what is shown and asked."""

from steps.study.costs.work import Case, Work

REAL = 1400
"""Handwritten digits among the probes' images, clean and noisy (`steps.data.probes.DIGITS`)."""
PHOTOS = 450
"""Scenes of photographs among them, where photographs are to be had (`PHOTO_SCENES` there)."""


def items(case: Case) -> Work:
    """A scene and a question of each, and its image."""
    told, data = case.params.items, case.params.data
    if data.source == "files":  # read and scaled, not drawn
        count = told.train + told.tune + told.vqa
        return Work(items=count, disk=3.0 * data.size**2 * count, start="data")
    scenes = told.train + told.stage1 + told.tune + told.vqa + told.far
    side = case.params.world.canvas
    return Work(scenes=scenes, disk=side**2 * (3 * scenes + told.train), start="data")


def probes(case: Case) -> Work:
    """Labelled scenes, photographs, and digits, which cost half as much to draw."""
    side, images = case.params.world.canvas, probe_images(case)
    return Work(scenes=probe_scenes(case) + REAL / 2, disk=5 * images * side**2, start="data")


def probe_scenes(case: Case) -> int:
    """Scenes that are drawn for probes."""
    told = case.params.probes
    drawn = told.classify_train + told.classify_test + told.segment_train + told.segment_test
    return drawn + PHOTOS * case.photos


def probe_images(case: Case) -> int:
    """Images that encoders are probed on."""
    sets = sum(one.train + one.test for one in case.params.probes.images)
    return probe_scenes(case) + REAL + sets


COSTS = {"items": items, "probes": probes}
