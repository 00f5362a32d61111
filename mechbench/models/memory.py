"""Keys and values of positions that are not computed again."""

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor


@runtime_checkable
class AttentionMemory(Protocol):
    """What one attention layer remembers. ``length`` positions precede the ones in the input."""

    @property
    def length(self) -> int: ...

    def extend(
        self,
        k: Float[Tensor, "batch pos kv_head d_head"],
        v: Float[Tensor, "batch pos kv_head d_head"],
    ) -> tuple[Tensor, Tensor]:
        """Keys and values of all positions: the remembered ones followed by ``k`` and ``v``."""
        ...


class GrowingMemory:
    """A KV cache for generation: what ``extend`` is given stays."""

    def __init__(self) -> None:
        self._k: Tensor | None = None
        self._v: Tensor | None = None

    @property
    def length(self) -> int:
        return 0 if self._k is None else self._k.shape[1]

    def extend(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        if self._k is not None and self._v is not None:
            k, v = torch.cat([self._k, k], dim=1), torch.cat([self._v, v], dim=1)
        self._k, self._v = k, v
        return k, v


class FrozenPrefix:
    """Keys and values of a prefix of ``prompts`` rows, shared by batches of repeated prompts.

    A batch given to ``extend`` holds ``n * prompts`` rows, prompt index fastest; nothing is stored.
    """

    def __init__(self, k: Tensor, v: Tensor):
        self._k, self._v = k, v

    @property
    def length(self) -> int:
        return self._k.shape[1]

    def extend(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        return _prepend(self._k, k), _prepend(self._v, v)


def _prepend(prefix: Tensor, rest: Tensor) -> Tensor:
    prompts, length = prefix.shape[:2]
    repeats = rest.shape[0] // prompts
    assert repeats * prompts == rest.shape[0], (prefix.shape, rest.shape)
    whole = rest.new_empty(rest.shape[0], length + rest.shape[1], *rest.shape[2:])
    whole.view(repeats, prompts, *whole.shape[1:])[:, :, :length] = prefix
    whole[:, length:] = rest
    return whole
