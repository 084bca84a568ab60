"""Pictures without a camera, the same bytes on every machine, and their way into a network's input."""

import numpy as np

from .bundle import Description


def pictures(height: int, width: int, count: int, seed: int = 0) -> np.ndarray:
    """A clip of uint8 [count, height, width, 3]: coloured noise at several scales that drifts, by exact arithmetic."""
    random = np.random.Generator(np.random.PCG64([seed, 99]))
    total = np.zeros((count, height, width, 3), np.int64)
    for cell, weight, drift in ((1, 1, 0), (4, 2, 1), (16, 4, 2)):
        rows, columns = height // cell + 1, (width + drift * count) // cell + 2
        coarse = random.integers(0, 37, size=(rows, columns, 3)).repeat(cell, 0).repeat(cell, 1)
        for i in range(count):
            total[i] += weight * coarse[:height, drift * i : drift * i + width]
    return np.minimum(total, 255).astype(np.uint8)


def normalised(picture: np.ndarray, description: Description) -> np.ndarray:
    """`image` of a picture that has the network's size."""
    image = (picture.astype(np.float32) / np.float32(255) - np.float32(description.mean)) / np.float32(description.std)
    return np.ascontiguousarray(image.transpose(2, 0, 1)[None])
