"""Self-attention, with every hook point that TransformerLens gives it.

Suffixes: B batch, P query pos, S key pos, H head, G kv head, D d_model, C d_head.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformer_lens.hook_points import HookPoint

from mechbench.models.hooks import is_hooked
from mechbench.models.memory import AttentionMemory


class Attention(nn.Module):
    """Attention with ``n_heads`` query heads over ``n_kv_heads`` keys and values.

    A position sees itself and what comes before it, or everything if not ``causal``; then nothing
    can be remembered, because a later token changes earlier positions.

    Weights are ``W_Q [head d_model d_head]``, ``W_K W_V [kv_head d_model d_head]`` and
    ``W_O [head d_head d_model]``, used as ``x @ W``. Scores are divided by ``sqrt(d_head)``.

    SDPA runs while nobody reads the pattern; it is materialised when ``hook_attn_scores`` or
    ``hook_pattern`` is hooked. ``hook_result``, ``hook_q_input`` and its siblings fire only while
    the model's ``set_use_attn_result`` and ``set_use_split_qkv_input`` are on.
    """

    def __init__(
        self, d_model: int, n_heads: int, n_kv_heads: int, d_head: int, *, causal: bool = True
    ):
        super().__init__()
        self.causal = causal
        self.n_heads, self.n_kv_heads, self.d_head = n_heads, n_kv_heads, d_head
        self.W_Q = nn.Parameter(_empty_by_column(n_heads, d_model, d_head))
        self.W_K = nn.Parameter(_empty_by_column(n_kv_heads, d_model, d_head))
        self.W_V = nn.Parameter(_empty_by_column(n_kv_heads, d_model, d_head))
        self.W_O = nn.Parameter(torch.empty(n_heads, d_head, d_model))
        self.b_Q = nn.Parameter(torch.zeros(n_heads, d_head))
        self.b_K = nn.Parameter(torch.zeros(n_kv_heads, d_head))
        self.b_V = nn.Parameter(torch.zeros(n_kv_heads, d_head))
        self.b_O = nn.Parameter(torch.zeros(d_model))
        self.use_result = False
        self.hook_q_input, self.hook_k_input, self.hook_v_input = (
            HookPoint(),
            HookPoint(),
            HookPoint(),
        )
        self.hook_q, self.hook_k, self.hook_v = HookPoint(), HookPoint(), HookPoint()
        self.hook_attn_scores, self.hook_pattern = HookPoint(), HookPoint()
        self.hook_z, self.hook_result = HookPoint(), HookPoint()

    def forward(
        self,
        x_q: Float[Tensor, "batch query *head d_model"],
        x_k: Float[Tensor, "batch pos *kv_head d_model"],
        x_v: Float[Tensor, "batch pos *kv_head d_model"],
        *,
        memory: AttentionMemory | None = None,
        queries: Int[Tensor, "batch query"] | None = None,
    ) -> Float[Tensor, "batch query d_model"]:
        """The sum over heads written to the residual stream.

        Args:
            x_q, x_k, x_v: normalised inputs, shared by all heads or one per head.
            memory: keys and values of earlier positions.
            queries: index, among the positions of ``x_k``, of each row of ``x_q``; None when
                they are the same positions.
        """
        q = self.hook_q(_per_head(x_q, self.W_Q, self.b_Q))
        k = self.hook_k(_per_head(x_k, self.W_K, self.b_K))
        v = self.hook_v(_per_head(x_v, self.W_V, self.b_V))
        first = 0
        assert self.causal or memory is None, "only causal attention can go on from a memory"
        if memory is not None:
            first = memory.length
            k, v = memory.extend(k, v)
        z = self.hook_z(self._attend(q, k, v, first, queries))
        if self.use_result:
            return self.hook_result(torch.einsum("bphc,hcd->bphd", z, self.W_O)).sum(2) + self.b_O
        flat = z.reshape(-1, self.n_heads * self.d_head)
        return torch.addmm(self.b_O, flat, self.W_O.flatten(0, 1)).view(*z.shape[:2], -1)

    def _attend(
        self, q: Tensor, k: Tensor, v: Tensor, first: int, queries: Tensor | None
    ) -> Tensor:
        square = first == 0 and queries is None
        q_BHPC, k_BGSC, v_BGSC = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
        grouped = self.n_kv_heads != self.n_heads
        if not (is_hooked(self.hook_attn_scores) or is_hooked(self.hook_pattern)):
            fused = self.causal and square  # the kernel's own mask
            return nn.functional.scaled_dot_product_attention(
                q_BHPC,
                k_BGSC,
                v_BGSC,
                attn_mask=None if fused else self._visible(q, k, first, queries),
                is_causal=fused,
                enable_gqa=grouped,
            ).transpose(1, 2)
        if grouped:
            repeats = self.n_heads // self.n_kv_heads
            k_BGSC = k_BGSC.repeat_interleave(repeats, dim=1)
            v_BGSC = v_BGSC.repeat_interleave(repeats, dim=1)
        scores = q_BHPC @ k_BGSC.transpose(-1, -2) / self.d_head**0.5
        visible = self._visible(q, k, first, queries)
        if visible is not None:
            scores = scores.masked_fill(~visible, float("-inf"))
        pattern = self.hook_pattern(self.hook_attn_scores(scores).softmax(-1))
        return (pattern @ v_BGSC).transpose(1, 2)

    def _visible(self, q: Tensor, k: Tensor, first: int, queries: Tensor | None) -> Tensor | None:
        """Which keys a query may see, ``[batch|1 1 query key]``; None where it may see all."""
        n_keys = k.shape[1]
        if not self.causal or (queries is None and q.shape[1] == 1 and n_keys == first + 1):
            return None
        if queries is None:
            queries = torch.arange(q.shape[1], device=q.device)[None]
        keys = torch.arange(n_keys, device=q.device)
        return keys <= (queries + first)[:, None, :, None]


def _empty_by_column(n_heads: int, d_model: int, d_head: int) -> Tensor:
    """``[head d_model d_head]``, stored so that ``[d_model, head * d_head]`` is a view of it."""
    return torch.empty(d_model, n_heads, d_head).transpose(0, 1)


def _per_head(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    if x.dim() == 4:
        return torch.einsum("bphd,hdc->bphc", x, weight) + bias
    n_heads, d_model, d_head = weight.shape
    columns = weight.transpose(0, 1).reshape(d_model, n_heads * d_head)
    return torch.addmm(bias.flatten(), x.reshape(-1, d_model), columns).view(
        *x.shape[:2], n_heads, d_head
    )
