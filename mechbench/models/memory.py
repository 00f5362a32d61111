"""What layers keep of positions that are not computed again."""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor


@runtime_checkable
class Memory(Protocol):
    """What one layer remembers; what it holds beside this is the business of its architecture.

    Attributes:
        length: how many positions precede the ones in the input.
        nbytes: what its tensors take now.
    """

    @property
    def length(self) -> int: ...

    @property
    def nbytes(self) -> int: ...


@runtime_checkable
class AttentionMemory(Memory, Protocol):
    """What one layer of plain attention remembers: keys and values."""

    def extend(
        self,
        k: Float[Tensor, "batch pos kv_head d_head"],
        v: Float[Tensor, "batch pos kv_head d_head"],
    ) -> tuple[Tensor, Tensor]:
        """The remembered keys and values followed by ``k`` and ``v``: the last positions."""
        ...


def everything(length: int) -> int:
    """Of ``length`` positions keep all."""
    return length


class GrowingMemory:
    """A KV cache for generation: what ``extend`` is given stays, as far as it can be seen again.

    Args:
        kept: of so many positions, how many of the last ones a later token may still see.
    """

    def __init__(self, kept: Callable[[int], int] = everything) -> None:
        self._kept = kept
        self._length = 0
        self._k: Tensor | None = None
        self._v: Tensor | None = None

    @property
    def length(self) -> int:
        return self._length

    @property
    def nbytes(self) -> int:
        return sum(x.nbytes for x in (self._k, self._v) if x is not None)

    def extend(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        self._length += k.shape[1]
        if self._k is not None and self._v is not None:
            k, v = torch.cat([self._k, k], dim=1), torch.cat([self._v, v], dim=1)
        forgotten = k.shape[1] - self._kept(self._length)
        # a copy where something is forgotten, or the view would hold all of it
        self._k, self._v = (x[:, forgotten:].clone() if forgotten else x for x in (k, v))
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

    @property
    def nbytes(self) -> int:
        return self._k.nbytes + self._v.nbytes

    def extend(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        return _prepend(self._k, k), _prepend(self._v, v)


class BufferedMemory:
    """Keys and values in buffers that are given, with room behind them: growing copies nothing.

    Args:
        k, v: ``[batch room kv_head d_head]``; what ``extend`` is given is written into them.
        length: how many of the first positions hold something already.
    """

    def __init__(self, k: Tensor, v: Tensor, length: int):
        self._k, self._v, self._length = k, v, length

    @property
    def length(self) -> int:
        return self._length

    @property
    def nbytes(self) -> int:
        return self._k[:, : self._length].nbytes + self._v[:, : self._length].nbytes

    def extend(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        start, end = self._length, self._length + k.shape[1]
        assert end <= self._k.shape[1], "the buffer is full"
        self._k[:, start:end], self._v[:, start:end] = k, v
        self._length = end
        return self._k[:, :end], self._v[:, :end]


def _prepend(prefix: Tensor, rest: Tensor) -> Tensor:
    prompts, length = prefix.shape[:2]
    repeats = rest.shape[0] // prompts
    assert repeats * prompts == rest.shape[0], (prefix.shape, rest.shape)
    whole = rest.new_empty(rest.shape[0], length + rest.shape[1], *rest.shape[2:])
    whole.view(repeats, prompts, *whole.shape[1:])[:, :, :length] = prefix
    whole[:, length:] = rest
    return whole
