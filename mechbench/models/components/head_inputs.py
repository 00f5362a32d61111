"""What the attention of a block reads: the residual stream, or a copy of it for every head."""

from torch import Tensor, nn
from transformer_lens.hook_points import HookPoint

from mechbench.models.components.attention import Attention


class HeadInputs(nn.Module):
    """A block whose attention reads ``ln1`` of the stream, with TransformerLens' switches.

    A subclass sets all of these. With ``use_split_qkv_input`` every head has its own q, k
    and v input, before the norm, at ``attn.hook_q_input`` and its siblings; with ``use_attn_in``
    one for all three, at ``hook_attn_in``.
    """

    ln1: nn.Module
    attn: Attention
    hook_attn_in: HookPoint
    use_split_qkv_input: bool
    use_attn_in: bool

    def head_inputs(self, resid_pre: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Normalised inputs of q, k and v, ``[batch pos d_model]`` or ``[batch pos head d_model]``.

        Copies are real ones, because a hook may write into them.
        """
        per_head = resid_pre[:, :, None]
        n_heads = self.attn.n_heads
        if self.use_split_qkv_input:
            points = (self.attn.hook_q_input, self.attn.hook_k_input, self.attn.hook_v_input)
            x_q, x_k, x_v = (self.ln1(p(per_head.repeat(1, 1, n_heads, 1))) for p in points)
            return x_q, x_k, x_v
        if self.use_attn_in:
            resid_pre = self.hook_attn_in(per_head.repeat(1, 1, n_heads, 1))
        x = self.ln1(resid_pre)
        return x, x, x
