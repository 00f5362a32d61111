"""A transformer without LayerNorm: the form of constructed and compiled models.

Every size is free, attention may look both ways, and MLPs and position embeddings may be absent.
Nothing stands between the residual stream and the weights that read it, so what a weight reads is
what was written. Checked against the equations in float64.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformer_lens.hook_points import HookPoint

from mechbench.errors import SpecError
from mechbench.models.base import HookedModel
from mechbench.models.components.attention import Attention
from mechbench.models.components.embedding import PositionEmbedding, TokenEmbedding, Unembedding
from mechbench.models.components.head_inputs import HeadInputs
from mechbench.models.components.mlp import MLP
from mechbench.models.components.norm import NoNorm
from mechbench.models.contract import Capabilities, HookConfig
from mechbench.models.hooks import is_hooked
from mechbench.models.memory import AttentionMemory
from mechbench.models.spec import VariantSpec

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": nn.functional.relu,
    "gelu": nn.functional.gelu,
    "identity": nn.Identity(),
}


@dataclass(frozen=True, kw_only=True)
class PlainConfig:
    """What varies between plain transformers.

    Attributes:
        d_mlp: 0 for layers of attention alone.
        d_vocab_out: how many logits there are; None for as many as tokens.
        act: of the MLPs: ``relu``, ``gelu`` (the exact one) or ``identity``.
        causal: whether a position sees only itself and what comes before it.
        learned_positions: whether there is a position embedding.

    Raises:
        SpecError: a size below 1, or an unknown ``act``.
    """

    n_layers: int
    n_heads: int
    d_model: int
    d_head: int
    d_mlp: int
    d_vocab: int
    n_ctx: int
    d_vocab_out: int | None = None
    act: str = "relu"
    causal: bool = True
    learned_positions: bool = True

    def __post_init__(self) -> None:
        for name in ("n_layers", "n_heads", "d_model", "d_head", "d_vocab", "n_ctx"):
            if getattr(self, name) < 1:
                raise SpecError(f"{name} = {getattr(self, name)}, which must be at least 1.")
        if self.act not in ACTIVATIONS:
            raise SpecError(f"act = {self.act!r} is not known: use {', '.join(ACTIVATIONS)}.")


class PlainBlock(HeadInputs):
    """``x + attn(x)``, then ``x + mlp(x)`` where there is an MLP."""

    hook_out_is_single_residual_stream = True  # read by TransformerLens' logit lens

    def __init__(self, cfg: PlainConfig):
        super().__init__()
        self.ln1 = NoNorm()
        self.attn = Attention(cfg.d_model, cfg.n_heads, cfg.n_heads, cfg.d_head, causal=cfg.causal)
        self.mlp = None
        self.use_split_qkv_input = self.use_attn_in = self.use_hook_mlp_in = False
        self.hook_resid_pre, self.hook_attn_in = HookPoint(), HookPoint()
        self.hook_attn_out, self.hook_resid_mid = HookPoint(), HookPoint()
        if cfg.d_mlp:
            self.ln2 = NoNorm()
            self.mlp = MLP(cfg.d_model, cfg.d_mlp, ACTIVATIONS[cfg.act])
            self.hook_mlp_in, self.hook_mlp_out = HookPoint(), HookPoint()
        self.hook_resid_post = HookPoint()

    def forward(
        self,
        resid_pre: Float[Tensor, "batch pos d_model"],
        *,
        memory: AttentionMemory | None = None,
    ) -> Float[Tensor, "batch pos d_model"]:
        return self.to_post(self.to_mid(resid_pre, memory=memory))

    def to_mid(
        self,
        resid_pre: Float[Tensor, "batch pos d_model"],
        *,
        memory: AttentionMemory | None = None,
        queries: Int[Tensor, "batch query"] | None = None,
    ) -> Float[Tensor, "batch query d_model"]:
        resid_pre = self.hook_resid_pre(resid_pre)
        x_q, x_k, x_v = self.head_inputs(resid_pre)
        if queries is not None:
            rows = torch.arange(len(queries), device=queries.device)[:, None]
            x_q, resid_pre = x_q[rows, queries], resid_pre[rows, queries]
        attn_out = self.hook_attn_out(self.attn(x_q, x_k, x_v, memory=memory, queries=queries))
        return self.hook_resid_mid(resid_pre + attn_out)

    def to_post(
        self, resid_mid: Float[Tensor, "batch pos d_model"]
    ) -> Float[Tensor, "batch pos d_model"]:
        if self.mlp is None:
            return self.hook_resid_post(resid_mid)
        # A copy, because a hook may write in place and resid_mid is also the skip connection.
        mlp_in = self.hook_mlp_in(resid_mid.clone()) if self.use_hook_mlp_in else resid_mid
        return self.hook_resid_post(resid_mid + self.hook_mlp_out(self.mlp(self.ln2(mlp_in))))


class Plain(HookedModel):
    """A plain transformer with hook points. See ``HookedModel`` for what it offers."""

    def __init__(self, config: PlainConfig, model_name: str = "plain"):
        super().__init__()
        self.config = config
        self.embed = TokenEmbedding(config.d_vocab, config.d_model)
        self.hook_embed = HookPoint()
        self.pos_embed = None
        if config.learned_positions:
            self.pos_embed = PositionEmbedding(config.n_ctx, config.d_model)
            self.hook_pos_embed = HookPoint()
        self.blocks = nn.ModuleList(PlainBlock(config) for _ in range(config.n_layers))
        self.ln_final = NoNorm()
        self.unembed = Unembedding(config.d_model, config.d_vocab_out or config.d_vocab)
        _initialise(self)
        self.finish(
            HookConfig(
                model_name=model_name,
                n_layers=config.n_layers,
                n_heads=config.n_heads,
                n_key_value_heads=None,
                d_model=config.d_model,
                d_head=config.d_head,
                d_mlp=config.d_mlp,
                d_vocab=config.d_vocab,
                n_ctx=config.n_ctx,
                act_fn=config.act,
                normalization_type=None,
                attn_only=config.d_mlp == 0,
                default_prepend_bos=False,
            ),
            Capabilities(
                causal=config.causal,
                restart_at_layer=True,
                restart_at_position=config.causal,
                additive_heads=True,
                additive_mlp=config.d_mlp > 0,
            ),
        )

    @property
    def W_pos(self) -> Float[Tensor, "n_ctx d_model"]:
        """What each position adds; zero where there is no position embedding."""
        if self.pos_embed is None:
            return self.W_E.new_zeros(self.config.n_ctx, self.config.d_model)
        return self.pos_embed.W_pos

    def embed_tokens(
        self, tokens: Int[Tensor, "batch pos"], first_position: int = 0
    ) -> Float[Tensor, "batch pos d_model"]:
        embed = self.hook_embed(self.embed(tokens))
        if self.pos_embed is None:
            return embed
        pos = self.pos_embed(tokens, first_position)
        if is_hooked(self.hook_pos_embed):
            pos = pos.clone()  # a view of W_pos, into which a hook must not write
        return embed + self.hook_pos_embed(pos)


@torch.no_grad()
def _initialise(model: Plain) -> None:
    """normal(0, 1 / sqrt(d_model)) for all weights, zero for biases. Our choice."""
    for name, weight in model.named_parameters():
        if name.rsplit(".", 1)[-1].startswith("W_"):
            nn.init.normal_(weight, std=model.config.d_model**-0.5)


TINY = PlainConfig(
    n_layers=3, n_heads=3, d_model=24, d_head=10, d_mlp=40, d_vocab=101, n_ctx=48
)  # fmt: skip
TINY_BOTH_WAYS = PlainConfig(
    n_layers=2, n_heads=2, d_model=20, d_head=14, d_mlp=30, d_vocab=101, n_ctx=48,
    act="gelu", causal=False, learned_positions=False,
)  # fmt: skip
TINY_ATTENTION_ONLY = PlainConfig(
    n_layers=2, n_heads=4, d_model=24, d_head=5, d_mlp=0, d_vocab=101, n_ctx=48
)  # fmt: skip

SPEC = VariantSpec(
    name="plain",
    config=PlainConfig,
    build=Plain,
    presets={
        "tiny": TINY,
        "tiny-both-ways": TINY_BOTH_WAYS,
        "tiny-attention-only": TINY_ATTENTION_ONLY,
    },
)
