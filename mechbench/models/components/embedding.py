"""Token and position embeddings, and the unembedding in its two forms."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


class TokenEmbedding(nn.Module):
    """Row ``t`` of ``W_E [d_vocab d_model]`` for token ``t``."""

    def __init__(self, d_vocab: int, d_model: int):
        super().__init__()
        self.W_E = nn.Parameter(torch.empty(d_vocab, d_model))

    def forward(self, tokens: Int[Tensor, "batch pos"]) -> Float[Tensor, "batch pos d_model"]:
        return nn.functional.embedding(tokens, self.W_E)


class PositionEmbedding(nn.Module):
    """Learned absolute positions, ``W_pos [n_ctx d_model]``."""

    def __init__(self, n_ctx: int, d_model: int):
        super().__init__()
        self.W_pos = nn.Parameter(torch.empty(n_ctx, d_model))

    def forward(
        self, tokens: Int[Tensor, "batch pos"], first_position: int
    ) -> Float[Tensor, "batch pos d_model"]:
        rows = self.W_pos[first_position : first_position + tokens.shape[1]]
        return rows.expand(len(tokens), -1, -1)


class Unembedding(nn.Module):
    """``x @ W_U + b_U``, of all tokens or of those in ``vocab`` alone."""

    def __init__(self, d_model: int, d_vocab: int):
        super().__init__()
        self.W_U = nn.Parameter(torch.empty(d_model, d_vocab))
        self.b_U = nn.Parameter(torch.zeros(d_vocab))

    def forward(
        self, x: Float[Tensor, "*batch d_model"], vocab: Int[Tensor, " subset"] | None = None
    ) -> Float[Tensor, "*batch subset"]:
        if vocab is None:
            return x @ self.W_U + self.b_U
        return x @ self.W_U[:, vocab] + self.b_U[vocab]


class TiedUnembedding(nn.Module):
    """The transposed token embedding, without bias."""

    def __init__(self, embed: TokenEmbedding):
        super().__init__()
        self._embed = [embed]  # in a list, so that its weight is not registered twice

    @property
    def W_U(self) -> Float[Tensor, "d_model d_vocab"]:
        return self._embed[0].W_E.T

    @property
    def b_U(self) -> Float[Tensor, " d_vocab"]:
        return self.W_U.new_zeros(self.W_U.shape[1])

    def forward(
        self, x: Float[Tensor, "*batch d_model"], vocab: Int[Tensor, " subset"] | None = None
    ) -> Float[Tensor, "*batch subset"]:
        weight = self._embed[0].W_E
        return nn.functional.linear(x, weight if vocab is None else weight[vocab])
