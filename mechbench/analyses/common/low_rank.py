"""Spectra and norms of products ``A @ B`` of rank at most ``d_head``, which are never formed."""

import torch
from torch import Tensor


def low_rank_svd(A: Tensor, B: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """``U [m r]``, ``S [r]``, ``V [n r]`` with ``A @ B = U @ diag(S) @ V.T``; S falls.

    ``A`` is ``[m r]`` and ``B`` ``[r n]``. By QR of both factors and an SVD of ``[r r]``.
    """
    Q_A, R_A = torch.linalg.qr(A)
    Q_B, R_B = torch.linalg.qr(B.T)
    U, S, Vh = torch.linalg.svd(R_A @ R_B.T)
    return Q_A @ U, S, Q_B @ Vh.T


def low_rank_eigenvalues(A: Tensor, B: Tensor) -> Tensor:
    """The nonzero eigenvalues of ``A @ B``, complex ``[r]``: those of ``B @ A``."""
    return torch.linalg.eigvals(B @ A)


def shrink_left(A: Tensor, B: Tensor) -> Tensor:
    """``[... r n]`` that acts like ``A @ B [... m n]`` in every Frobenius norm from the right."""
    return torch.linalg.qr(A, mode="r")[1] @ B


def shrink_right(A: Tensor, B: Tensor) -> Tensor:
    """``[... m r]`` that acts like ``A @ B [... m n]`` in every Frobenius norm from the left."""
    return A @ torch.linalg.qr(B.transpose(-1, -2), mode="r")[1].transpose(-1, -2)


def signed_share(eigenvalues: Tensor) -> Tensor:
    """``sum(Re λ) / sum(|λ|)`` over the last axis: 1 where all are positive, -1 where negative.

    Source: Elhage et al. 2021, the copying score of OV circuits.
    """
    return eigenvalues.real.sum(-1) / eigenvalues.abs().sum(-1)
