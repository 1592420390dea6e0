"""Right answers of two arms that are equal in the population of seeds and texts; no tests here."""

from __future__ import annotations

import numpy as np

# standard deviations of a lasting preference of an arm for texts, of seeds, and of seed by text; texts themselves: 1
KINDS = {
    "texts": (1.0, 0.02, 0.3),
    "seeds": (0.3, 0.4, 0.5),
    "both": (0.5, 0.1, 0.5),
    "neither": (0.0, 0.02, 0.7),
}
PREFERENCE = (0.7, 0.05, 0.5)


def two_arms(generator: np.random.Generator, n: int, texts: int, deviations: tuple[float, float, float]) -> np.ndarray:
    """Whether an answer is right, [arm, seed, text]; new texts and new seeds with each call."""
    preference, seed, noise = deviations
    latent = generator.normal(0.8, 1.0, texts) + generator.normal(0, preference, (2, 1, texts))
    return latent + generator.normal(0, seed, (2, n, 1)) + generator.normal(0, noise, (2, n, texts)) > 0
