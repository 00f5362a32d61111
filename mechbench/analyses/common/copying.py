"""Whether heads' OV circuits raise the logit of the token that is attended to."""

import torch
from torch import Tensor

from mechbench.analyses.common.head_weights import LayerHeads
from mechbench.analyses.common.low_rank import low_rank_eigenvalues, signed_share

_ROWS = 8192  # of the vocabulary at once


def vocabulary_product(embed: Tensor, unembed: Tensor) -> Tensor:
    """``unembed.T @ embed [d_model d_model]``, summed over the vocabulary in pieces."""
    pieces = zip(unembed.split(_ROWS), embed.split(_ROWS), strict=True)
    total = embed.new_zeros(embed.shape[1], embed.shape[1])
    for logits, tokens in pieces:
        total += logits.T @ tokens
    return total


def copying_score(W_V: Tensor, W_O: Tensor, product: Tensor) -> Tensor:
    """``sum(Re λ) / sum(|λ|)`` of ``W_E W_V W_O W_U``, whose eigenvalues are d_head many.

    ``product`` is ``W_U W_E``, by ``vocabulary_product``. Source: Elhage et al. 2021.
    """
    return signed_share(low_rank_eigenvalues(product @ W_V, W_O))


def random_copying(d_head: int, product: Tensor, n: int, seed: int, *, centred: bool) -> Tensor:
    """Copying scores of ``n`` heads whose weights are Gaussian noise."""
    generator = torch.Generator().manual_seed(seed)
    shape = (n, len(product), d_head)
    W_V, W_O = (torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(2))
    if centred:
        W_O = W_O - W_O.mean(1, keepdim=True)
    scores = [copying_score(v, o.T, product) for v, o in zip(W_V, W_O, strict=True)]
    return torch.stack(scores) if scores else torch.zeros(0, dtype=torch.float64)


def copied(heads: LayerHeads, embed: Tensor, unembed: Tensor, ids: Tensor, top: int) -> Tensor:
    """Whether attending to a token puts its own logit among the ``top`` largest, ``[head token]``.

    Logits are what the head writes, before the final norm's division. In float32, for only the
    order counts.
    """
    read, to_logits = embed[ids].float(), unembed.float().T
    hits = []
    for head in range(heads.n_heads):
        W_V, W_O = (W.float() for W in heads.ov(head))
        logits = read @ W_V @ W_O @ to_logits
        own = logits.gather(1, ids[:, None])
        hits.append((logits > own).sum(1) < top)
    return torch.stack(hits)
