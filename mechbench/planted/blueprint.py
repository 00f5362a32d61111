"""Weights of a plain transformer, written down subspace by subspace.

The residual stream is cut into named subspaces (tokens, positions, what a head copied, logits, and
``junk`` for distractors). Their directions are rows of one orthogonal matrix whose entries are
+-1/16, so that no coordinate of the residual stream belongs to a subspace, and every product of it
with weights of few binary digits is exact in float32: what reads one subspace reads exactly nothing
of another.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mechbench.models.source import ModelSource
from mechbench.models.variants.plain import Plain, PlainConfig

D_MODEL = 256
D_HEAD = 36  # scores are divided by 6
JUNK = "junk"
_JUNK_SIZE = 32
_STEP = 1 / 128  # of random weights


class Blueprint:
    """A plain transformer in the making; heads and neurons that nobody writes down do nothing."""

    def __init__(
        self,
        name: str,
        spaces: Mapping[str, int],
        *,
        n_layers: int,
        n_heads: int,
        d_mlp: int,
        d_vocab: int,
        n_ctx: int,
        seed: int,
    ):
        self.name = name
        self.draw = torch.Generator().manual_seed(seed)
        self.sizes = {**spaces, JUNK: _JUNK_SIZE}
        parts = _basis(self.draw)[: sum(self.sizes.values())].split(list(self.sizes.values()))
        self._directions = dict(zip(self.sizes, parts, strict=True))
        self._used = [0] * n_layers  # neurons
        config = PlainConfig(
            n_layers=n_layers,
            n_heads=n_heads,
            d_model=D_MODEL,
            d_head=D_HEAD,
            d_mlp=d_mlp,
            d_vocab=d_vocab,
            n_ctx=n_ctx,
        )
        self.model = Plain(config, name).double()
        with torch.no_grad():
            for weight in self.model.parameters():
                weight.zero_()

    def reads(self, **matrices: Tensor) -> Tensor:
        """``[d_model out]``: what ``matrices [space out]`` make of the subspaces they name."""
        return sum(
            (self._directions[space].T @ m for space, m in matrices.items()),
            torch.zeros(D_MODEL, 1, dtype=torch.float64),
        )

    def writes(self, **matrices: Tensor) -> Tensor:
        """``[in d_model]`` that writes ``x @ matrix [in space]`` into the subspaces they name."""
        return sum(
            (m @ self._directions[space] for space, m in matrices.items()),
            torch.zeros(1, D_MODEL, dtype=torch.float64),
        )

    @torch.no_grad()
    def embed(self, *, tokens: str, positions: str) -> None:
        """Every token and every position is a direction of its own in the named subspaces."""
        self.model.embed.W_E.copy_(self._directions[tokens])
        assert self.model.pos_embed is not None
        self.model.pos_embed.W_pos.copy_(self._directions[positions])

    @torch.no_grad()
    def unembed(self, space: str) -> None:
        """Coordinate ``i`` of the subspace is the logit of token ``i``."""
        self.model.unembed.W_U.copy_(self._directions[space].T)

    @torch.no_grad()
    def head(
        self,
        layer: int,
        head: int,
        *,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        output: Tensor,
        sharpness: float = 1.0,
        constant_query: bool = False,
    ) -> None:
        """A head that scores ``sharpness * (x @ query) . (x @ key)`` and writes ``value @ output``.

        ``query``, ``key`` and ``value`` are ``[d_model out]``, ``output`` is ``[in d_model]``. A
        ``constant_query`` is ``[out]``, the same at every position.
        """
        attn: Any = self.model.blocks[layer].attn
        scale = sharpness * D_HEAD**0.5
        if constant_query:
            attn.b_Q[head, : len(query)] = scale * query
        else:
            attn.W_Q[head, :, : query.shape[1]] = scale * query
        attn.W_K[head, :, : key.shape[1]] = key
        attn.W_V[head, :, : value.shape[1]] = value
        attn.W_O[head, : len(output)] = output

    @torch.no_grad()
    def neurons(self, layer: int, *, reads: Tensor, bias: float, writes: Tensor) -> None:
        """More ReLU neurons: ``reads [d_model neuron]``, ``writes [neuron d_model]``."""
        mlp: Any = self.model.blocks[layer].mlp
        first, last = self._used[layer], self._used[layer] + len(writes)
        assert last <= self.model.config.d_mlp, (layer, last)
        mlp.W_in[:, first:last], mlp.b_in[first:last] = reads, bias
        mlp.W_out[first:last] = writes
        self._used[layer] = last

    def random(self, *shape: int, std: float) -> Tensor:
        """Normal numbers, rounded to few binary digits."""
        drawn = torch.randn(*shape, generator=self.draw, dtype=torch.float64) * std
        return (drawn / _STEP).round() * _STEP

    def build(self) -> Plain:
        """The model, in float32 without any rounding."""
        for name, weight in self.model.named_parameters():
            assert torch.equal(weight.float().double(), weight), f"{name} is not exact in float32"
        self.model.float()
        self.model.source = ModelSource(name=self.name, kind="constructed")
        return self.model


def one_to_one(size: int, *pairs: tuple[int, int], to: int | None = None) -> Tensor:
    """``[size to]`` with a one for each pair (from, to); the identity without pairs."""
    matrix = torch.zeros(size, to or size, dtype=torch.float64)
    for i, j in pairs or [(i, i) for i in range(size)]:
        matrix[i, j] = 1
    return matrix


def _basis(draw: torch.Generator) -> Tensor:
    """An orthogonal matrix of +-1/16: Sylvester's, rows and columns shuffled, signs drawn."""
    pair = torch.tensor([[1.0, 1.0], [1.0, -1.0]], dtype=torch.float64)
    matrix = torch.ones(1, 1, dtype=torch.float64)
    while len(matrix) < D_MODEL:
        matrix = torch.kron(matrix, pair)
    rows, columns = (torch.randperm(D_MODEL, generator=draw) for _ in range(2))
    signs = 1.0 - 2.0 * torch.randint(0, 2, (D_MODEL,), generator=draw)
    return (matrix[rows][:, columns] * signs / D_MODEL**0.5).contiguous()
