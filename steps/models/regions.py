"""Fresh batches for the tower's pre-training: images, and what their regions show."""

import numpy as np

from steps.data.language import View, regions
from steps.data.paint import render
from steps.data.world import sample
from steps.models.tokenizer import Lexicon


def described(
    world, lexicon: Lexicon, rng: np.random.Generator, images: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images with region captions, for the tower alone.

    Returns images uint8 [N, H, W, 3]; for each of at most R regions the words said of it, bool
    [N, R, words]; and how far each patch lies in its box, float32 [N, R, patches], rows that sum
    to one (zero where a scene has fewer regions).
    """
    scenes = sample(world, rng, images, "train")
    found = [regions(View(scenes, i)) for i in range(images)]
    most = max(map(len, found))
    words = np.zeros((images, most, len(lexicon)), bool)
    boxes = np.zeros((images, most, 4))
    for i, scene in enumerate(found):
        for r, (phrase, box) in enumerate(scene):
            words[i, r, lexicon.encode(phrase)] = True
            boxes[i, r] = box
    starts = np.arange(0, world.canvas, world.patch)

    def share(low, high):  # of each row or column of patches that lies between low and high
        inside = np.minimum(high[..., None], starts + world.patch) - np.maximum(
            low[..., None], starts
        )
        return inside.clip(0)

    inside = share(boxes[..., 1], boxes[..., 3])[..., :, None]
    inside = (inside * share(boxes[..., 0], boxes[..., 2])[..., None, :]).reshape(images, most, -1)
    inside /= inside.sum(-1, keepdims=True).clip(1e-9)
    return render(world, scenes)[0], words, inside.astype(np.float32)
