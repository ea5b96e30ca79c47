"""Features in a view of fixed width: encoders of other widths, and projectors, on equal terms.

A linear probe on more columns has more to choose from, whatever they say (the projector of PIVOT's
larger language models is also wider). Principal components of the training images, as many for
every encoder, take that away.
"""

from collections.abc import Callable

import numpy as np

from steps.stage import StageError


def components(x: np.ndarray, width: int) -> np.ndarray:
    """The first principal components [D, width] of features x [N, D], largest variance first.

    Raises StageError where there are fewer features, or fewer samples, than that.
    """
    if width > min(x.shape):
        raise StageError(
            f"classify.pca = {width}: there are {x.shape[1]} features of {x.shape[0]} training "
            "images; lower it, or set it to 0"
        )
    x = x.astype(np.float64)
    x -= x.mean(0)
    values, vectors = np.linalg.eigh(x.T @ x)
    return vectors[:, np.argsort(values)[::-1][:width]]


def fixed(
    features: Callable[[str], np.ndarray], train: np.ndarray, width: int
) -> Callable[[str], np.ndarray]:
    """Any set's features [N, width], seen through the components of `classify`'s images `train`."""
    basis = components(np.asarray(features("classify"))[train], width)
    return lambda name: np.asarray(features(name), np.float64) @ basis
