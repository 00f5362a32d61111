"""Random generators from a user's seed."""

from numpy.random import Generator, default_rng

from mechbench.errors import TaskError


def seeded(seed: int, *stream: int) -> Generator:
    """A generator that depends on the seed and on the numbers of its stream alone.

    Raises:
        TaskError: a seed below 0.
    """
    if seed < 0:
        raise TaskError(f"A seed is a whole number from 0, got {seed}.")
    return default_rng([seed, *stream])
