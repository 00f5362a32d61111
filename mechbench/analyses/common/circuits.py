"""One head's QK and OV circuits: spectra, the tokens along singular vectors, tokens by tokens."""

from dataclasses import dataclass

import torch
from torch import Tensor

from mechbench.analyses.common.head_weights import LayerHeads
from mechbench.analyses.common.low_rank import low_rank_svd


@dataclass(frozen=True)
class Spectrum:
    """A circuit's singular values and the tokens furthest along its leading vectors.

    Attributes:
        singular: ``[d_head]``, falling.
        ids, values: ``[vector side sign rank]``; sign 0 is "+", and values are along that sign.
    """

    singular: Tensor
    ids: Tensor
    values: Tensor


def spectrum(
    factors: tuple[Tensor, Tensor],
    sides: tuple[Tensor, Tensor],
    n_vectors: int,
    n_top: int,
) -> Spectrum:
    """The SVD of a circuit; ``sides`` read tokens ``[d_vocab d_model]`` on the left and right."""
    U, S, V = low_rank_svd(*factors)
    left, right = (
        side @ vectors[:, :n_vectors] for side, vectors in zip(sides, (U, V), strict=True)
    )
    largest = left.gather(0, left.abs().argmax(0, keepdim=True))
    flip = torch.where(largest < 0, -1.0, 1.0).to(left)
    along = torch.stack([left * flip, right * flip])  # [side d_vocab vector]
    both = torch.stack([along, -along]).permute(3, 1, 0, 2)  # [vector side sign d_vocab]
    top = both.topk(n_top, dim=-1)
    return Spectrum(S, top.indices, top.values)


def gaussian_spectra(d_model: int, d_head: int, n: int, seed: int) -> Tensor:
    """Singular values ``[draw d_head]`` of products of Gaussian factors, Frobenius norm 1."""
    generator = torch.Generator().manual_seed(seed)
    drawn = []
    for _ in range(n):
        A, B = torch.randn(2, d_model, d_head, generator=generator, dtype=torch.float64)
        S = low_rank_svd(A, B.T)[1]
        drawn.append(S / S.norm())
    return torch.stack(drawn)


def token_blocks(
    heads: LayerHeads,
    head: int,
    rows: tuple[Tensor, Tensor],
    columns: tuple[Tensor, Tensor],
) -> tuple[Tensor, Tensor]:
    """QK scores ``[query key]`` and OV logits ``[attended written]`` between sets of tokens.

    ``rows`` and ``columns`` hold directions ``[token d_model]``, for QK and for OV.
    """
    (W_Q, W_K), (W_V, W_O) = heads.qk(head), heads.ov(head)
    qk = (rows[0] @ W_Q) @ (W_K @ columns[0].T)
    return qk, (rows[1] @ W_V) @ (W_O @ columns[1].T)
