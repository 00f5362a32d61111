"""Which models inside a model of nested MLPs are looked at."""

from itertools import product

import numpy as np

from mechbench.results.mlp_rings import DRAWN, FALLING, RISING, UNIFORM

Granularities = tuple[int, ...]
_ALL = 10_000  # so many are listed before a choice is made


def chosen_submodels(
    n_layers: int, n_granularities: int, n_each: int, seed: int
) -> list[tuple[str, Granularities]]:
    """Kind and granularities of each layer.

    All of one granularity, from the narrowest; then up to ``n_each`` of each kind, drawn without
    repetition: rising (by one granularity at most from layer to layer, as the paper recommends),
    falling (the same from the other end), and any others.

    Source: Devvrit et al. 2023 for rising ones; falling and drawn ones are our controls.
    """
    rng = np.random.default_rng(seed)
    uniform = [(UNIFORM, (i,) * n_layers) for i in range(n_granularities)]
    rising = _rising(n_layers, n_granularities)
    chosen = _some(rising, n_each, rng)
    falling = [tuple(reversed(one)) for one in _some(rising, n_each, rng)]
    known = {one for _, one in uniform} | set(rising) | {tuple(reversed(r)) for r in rising}
    drawn = _drawn(n_layers, n_granularities, n_each, known, rng)
    return [
        *uniform,
        *((RISING, one) for one in chosen),
        *((FALLING, one) for one in falling),
        *((DRAWN, one) for one in drawn),
    ]


def _rising(n_layers: int, n_granularities: int) -> list[Granularities]:
    """All that rise by one at most, but for those that do not rise, while they can be listed."""
    found = [(i,) for i in range(n_granularities)]
    for _ in range(n_layers - 1):
        found = [
            (*one, after)
            for one in found
            for after in (one[-1], one[-1] + 1)
            if after < n_granularities
        ][:_ALL]
    return [one for one in found if len(set(one)) > 1]


def _some(all_of: list[Granularities], n: int, rng: np.random.Generator) -> list[Granularities]:
    order = rng.permutation(len(all_of))[:n]
    return [all_of[i] for i in sorted(order)]


def _drawn(
    n_layers: int, n_granularities: int, n: int, known: set, rng: np.random.Generator
) -> list[Granularities]:
    if n_granularities**n_layers <= _ALL:
        every = product(range(n_granularities), repeat=n_layers)
        return _some([one for one in every if one not in known], n, rng)
    found: list[Granularities] = []
    while len(found) < n:
        one = tuple(rng.integers(n_granularities, size=n_layers).tolist())
        if one not in known:
            known.add(one)
            found.append(one)
    return found
