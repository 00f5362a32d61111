"""Parts that are busy and do not matter.

They read what the circuit reads, differ between clean and corrupted prompts and write at least as
loudly, but into ``junk``, which only other distractors read, and into logits of tokens that the
metric does not read.
"""

from collections.abc import Iterable

import torch
from torch import Tensor

from mechbench.planted.blueprint import D_HEAD, JUNK, Blueprint

LOGITS = "out"
_BYSTANDER = 0.5  # scale of the logits that nobody reads


def mixing_head(
    blueprint: Blueprint, layer: int, head: int, *, bystanders: Iterable[int], loudness: float
) -> None:
    """A head that attends by random likings and mixes all that it reads into junk.

    ``loudness`` is about the norm of what it writes; ``bystanders`` are the tokens of whose logits
    it also writes some.
    """
    seen = {space: n for space, n in blueprint.sizes.items() if space not in (JUNK, LOGITS)}

    def likings() -> Tensor:
        return blueprint.reads(**{s: blueprint.random(n, D_HEAD, std=0.5) for s, n in seen.items()})

    value = {space: blueprint.random(n, D_HEAD, std=0.5) for space, n in seen.items()}
    value[JUNK] = blueprint.random(blueprint.sizes[JUNK], D_HEAD, std=0.03)
    blueprint.head(
        layer,
        head,
        query=likings(),
        key=likings(),
        value=blueprint.reads(**value),
        output=_away(blueprint, D_HEAD, bystanders, loudness / 20),
        sharpness=1.0,
    )


def shadow_output(
    blueprint: Blueprint, n_in: int, *, bystanders: Iterable[int], loudness: float
) -> Tensor:
    """``W_O`` rows that put what a head copies where nobody looks: the head attends as the real one
    does, and its output does not matter."""
    return _away(blueprint, n_in, bystanders, loudness / 5)


def mixing_neurons(
    blueprint: Blueprint, layer: int, n: int, *, bystanders: Iterable[int], loudness: float
) -> None:
    """Neurons that read everything at random and write junk."""
    reads = {
        space: blueprint.random(size, n, std=0.1 if space == JUNK else 0.5)
        for space, size in blueprint.sizes.items()
        if space != LOGITS
    }
    blueprint.neurons(
        layer,
        reads=blueprint.reads(**reads),
        bias=0.0,
        writes=_away(blueprint, n, bystanders, loudness / 20),
    )


def _away(blueprint: Blueprint, n_in: int, bystanders: Iterable[int], std: float) -> Tensor:
    """``[n_in d_model]`` into junk and the bystanders' logits."""
    logits = torch.zeros(n_in, blueprint.sizes[LOGITS], dtype=torch.float64)
    columns = list(bystanders)
    logits[:, columns] = blueprint.random(n_in, len(columns), std=_BYSTANDER * std)
    junk = blueprint.random(n_in, blueprint.sizes[JUNK], std=std)
    return blueprint.writes(**{JUNK: junk, LOGITS: logits})
