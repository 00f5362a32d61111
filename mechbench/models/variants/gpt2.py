"""GPT-2 (Radford et al. 2019): learned positions, pre-norm blocks, tied unembedding.

Re-implemented with TransformerLens' hook names and weight layouts. Checked against Hugging Face's
``GPT2LMHeadModel``.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformer_lens.hook_points import HookPoint

from mechbench.models.base import HookedModel
from mechbench.models.components.attention import Attention
from mechbench.models.components.embedding import (
    PositionEmbedding,
    TiedUnembedding,
    TokenEmbedding,
    Unembedding,
)
from mechbench.models.components.head_inputs import HeadInputs
from mechbench.models.components.mlp import MLP
from mechbench.models.components.norm import LayerNorm, LayerNormPre
from mechbench.models.config_keys import ConfigKeys
from mechbench.models.contract import Capabilities, HookConfig
from mechbench.models.hooks import is_hooked
from mechbench.models.memory import AttentionMemory
from mechbench.models.spec import (
    HuggingFaceFormat,
    NormReads,
    StoredTensor,
    VariantSpec,
    WeightRoles,
)


@dataclass(frozen=True, kw_only=True)
class GPT2Config:
    """What varies between models of the GPT-2 family.

    Attributes:
        ln_folded: LayerNorm scale and shift are folded into the next weights, so blocks only
            centre and normalise.
        tied: the unembedding is the transposed embedding (false once it is folded or centred).
    """

    n_layers: int
    n_heads: int
    d_model: int
    d_mlp: int
    d_vocab: int
    n_ctx: int
    layer_norm_eps: float = 1e-5
    ln_folded: bool = False
    tied: bool = True

    @property
    def d_head(self) -> int:
        return self.d_model // self.n_heads


class GPT2Block(HeadInputs):
    """``x + attn(ln1(x))``, then ``x + mlp(ln2(x))``."""

    hook_out_is_single_residual_stream = True  # read by TransformerLens' logit lens

    def __init__(self, cfg: GPT2Config):
        super().__init__()
        self.ln1, self.ln2 = _norm(cfg), _norm(cfg)
        self.attn = Attention(cfg.d_model, cfg.n_heads, cfg.n_heads, cfg.d_head)
        self.mlp = MLP(cfg.d_model, cfg.d_mlp, partial(nn.functional.gelu, approximate="tanh"))
        self.use_split_qkv_input = self.use_attn_in = self.use_hook_mlp_in = False
        self.hook_resid_pre, self.hook_attn_in = HookPoint(), HookPoint()
        self.hook_attn_out, self.hook_resid_mid = HookPoint(), HookPoint()
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
            x_q = x_q[_rows(queries), queries]
            resid_pre = resid_pre[_rows(queries), queries]
        attn_out = self.hook_attn_out(self.attn(x_q, x_k, x_v, memory=memory, queries=queries))
        return self.hook_resid_mid(resid_pre + attn_out)

    def to_post(
        self, resid_mid: Float[Tensor, "batch pos d_model"]
    ) -> Float[Tensor, "batch pos d_model"]:
        # A copy, because a hook may write in place and resid_mid is also the skip connection.
        mlp_in = self.hook_mlp_in(resid_mid.clone()) if self.use_hook_mlp_in else resid_mid
        return self.hook_resid_post(resid_mid + self.hook_mlp_out(self.mlp(self.ln2(mlp_in))))


class GPT2(HookedModel):
    """GPT-2 with hook points. See ``HookedModel`` for what it offers."""

    def __init__(self, config: GPT2Config, model_name: str = "gpt2"):
        super().__init__()
        self.config = config
        self.embed = TokenEmbedding(config.d_vocab, config.d_model)
        self.pos_embed = PositionEmbedding(config.n_ctx, config.d_model)
        self.hook_embed, self.hook_pos_embed = HookPoint(), HookPoint()
        self.blocks = nn.ModuleList(GPT2Block(config) for _ in range(config.n_layers))
        self.ln_final = _norm(config)
        if config.tied:
            self.unembed = TiedUnembedding(self.embed)
        else:
            self.unembed = Unembedding(config.d_model, config.d_vocab)
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
                act_fn="gelu_new",
                normalization_type="LNPre" if config.ln_folded else "LN",
            ),
            Capabilities(
                causal=True,
                restart_at_layer=True,
                restart_at_position=True,
                additive_heads=True,
                additive_mlp=True,
            ),
        )

    @property
    def W_pos(self) -> Float[Tensor, "n_ctx d_model"]:
        return self.pos_embed.W_pos

    def embed_tokens(
        self, tokens: Int[Tensor, "batch pos"], first_position: int = 0
    ) -> Float[Tensor, "batch pos d_model"]:
        embed, pos = self.embed(tokens), self.pos_embed(tokens, first_position)
        if is_hooked(self.hook_pos_embed):
            pos = pos.clone()  # a view of W_pos, into which a hook must not write
        return self.hook_embed(embed) + self.hook_pos_embed(pos)


def _norm(cfg: GPT2Config) -> nn.Module:
    if cfg.ln_folded:
        return LayerNormPre(cfg.d_model, cfg.layer_norm_eps)
    return LayerNorm(cfg.d_model, cfg.layer_norm_eps)


def _rows(queries: Tensor) -> Tensor:
    return torch.arange(len(queries), device=queries.device)[:, None]


@torch.no_grad()
def _initialise(model: GPT2) -> None:
    """GPT-2's initialisation: normal(0, .02), the two residual writes smaller by sqrt(2 layers)."""
    for name, weight in model.named_parameters():
        leaf = name.rsplit(".", 1)[-1]
        if leaf in ("W_O", "W_out"):
            nn.init.normal_(weight, std=0.02 / (2 * model.config.n_layers) ** 0.5)
        elif leaf.startswith("W_"):
            nn.init.normal_(weight, std=0.02)


# --- Hugging Face's files -------------------------------------------------------------------------


def _read_config(keys: ConfigKeys) -> GPT2Config:
    d_model, n_heads = keys.size("n_embd", 768), keys.size("n_head", 12)
    if d_model % n_heads:
        keys.note(f"n_embd = {d_model} is not a multiple of n_head = {n_heads}")
    n_ctx = keys.size("n_positions", 1024)
    keys.expect("n_ctx", [n_ctx])
    # two names of one function
    keys.expect("activation_function", ["gelu_new", "gelu_pytorch_tanh"])
    keys.expect("scale_attn_weights", [True])
    keys.expect("scale_attn_by_inverse_layer_idx", [False])
    keys.expect("reorder_and_upcast_attn", [False])
    keys.expect("add_cross_attention", [False])
    keys.ignore(["attn_pdrop", "embd_pdrop", "resid_pdrop"])
    keys.ignore([f"summary_{k}" for k in "activation first_dropout type use_proj".split()])
    keys.ignore(["summary_proj_to_labels"])
    return GPT2Config(
        n_layers=keys.size("n_layer", 12),
        n_heads=n_heads,
        d_model=d_model,
        d_mlp=4 * d_model if keys.get("n_inner") is None else keys.size("n_inner", None),
        d_vocab=keys.size("vocab_size", 50257),
        n_ctx=n_ctx,
        layer_norm_eps=keys.number("layer_norm_epsilon", 1e-5),
        tied=keys.flag("tie_word_embeddings", True),
    )


def _stored(cfg: GPT2Config) -> Iterator[StoredTensor]:
    """Hugging Face's tensors. Its linear layers store ``[in, out]``, as ours do."""
    d, m = cfg.d_model, cfg.d_mlp

    def same(name: str, shape: tuple[int, ...], to: str) -> StoredTensor:
        return StoredTensor(name=name, shape=shape, parts=lambda t: {to: t})

    def qkv(t: Tensor, block: str, kind: str) -> dict[str, Tensor]:
        per_head = t.unflatten(-1, (3, cfg.n_heads, cfg.d_head))  # [(d_model) 3 head d_head]
        if kind == "W":
            per_head = per_head.movedim(0, -2)  # [3 head d_model d_head]
        return {f"{block}.attn.{kind}_{x}": per_head[i] for i, x in enumerate("QKV")}

    yield same("wte.weight", (cfg.d_vocab, d), "embed.W_E")
    yield same("wpe.weight", (cfg.n_ctx, d), "pos_embed.W_pos")
    for layer in range(cfg.n_layers):
        hf, block = f"h.{layer}", f"blocks.{layer}"
        for norm, ours in (("ln_1", "ln1"), ("ln_2", "ln2")):
            yield same(f"{hf}.{norm}.weight", (d,), f"{block}.{ours}.w")
            yield same(f"{hf}.{norm}.bias", (d,), f"{block}.{ours}.b")
        for name, shape, kind in (("weight", (d, 3 * d), "W"), ("bias", (3 * d,), "b")):
            parts = partial(qkv, block=block, kind=kind)
            yield StoredTensor(name=f"{hf}.attn.c_attn.{name}", shape=shape, parts=parts)
        yield StoredTensor(
            name=f"{hf}.attn.c_proj.weight",
            shape=(d, d),
            parts=lambda t, to=f"{block}.attn.W_O": {to: t.unflatten(0, (cfg.n_heads, -1))},
        )
        yield same(f"{hf}.attn.c_proj.bias", (d,), f"{block}.attn.b_O")
        yield same(f"{hf}.mlp.c_fc.weight", (d, m), f"{block}.mlp.W_in")
        yield same(f"{hf}.mlp.c_fc.bias", (m,), f"{block}.mlp.b_in")
        yield same(f"{hf}.mlp.c_proj.weight", (m, d), f"{block}.mlp.W_out")
        yield same(f"{hf}.mlp.c_proj.bias", (d,), f"{block}.mlp.b_out")
    yield same("ln_f.weight", (d,), "ln_final.w")
    yield same("ln_f.bias", (d,), "ln_final.b")
    if not cfg.tied:
        yield StoredTensor(
            name="lm_head.weight",
            shape=(cfg.d_vocab, d),
            parts=lambda t: {"unembed.W_U": t.T, "unembed.b_U": t.new_zeros(len(t))},
        )


# --- folding and centring -------------------------------------------------------------------------


def _norms(cfg: GPT2Config) -> Iterator[NormReads]:
    for layer in range(cfg.n_layers):
        attn, mlp = f"blocks.{layer}.attn", f"blocks.{layer}.mlp"
        reads = tuple((f"{attn}.W_{x}", f"{attn}.b_{x}") for x in "QKV")
        yield NormReads(norm=f"blocks.{layer}.ln1", reads=reads)
        yield NormReads(norm=f"blocks.{layer}.ln2", reads=((f"{mlp}.W_in", f"{mlp}.b_in"),))
    yield NormReads(norm="ln_final", reads=(("unembed.W_U", "unembed.b_U"),))


def _writes(cfg: GPT2Config) -> Iterator[str]:
    yield from ("embed.W_E", "pos_embed.W_pos")
    for layer in range(cfg.n_layers):
        for weight in ("attn.W_O", "attn.b_O", "mlp.W_out", "mlp.b_out"):
            yield f"blocks.{layer}.{weight}"


TINY = GPT2Config(n_layers=3, n_heads=4, d_model=32, d_mlp=64, d_vocab=101, n_ctx=48)
SMALL = GPT2Config(n_layers=12, n_heads=12, d_model=768, d_mlp=3072, d_vocab=50257, n_ctx=1024)

SPEC = VariantSpec(
    name="gpt2",
    config=GPT2Config,
    build=GPT2,
    presets={"tiny": TINY, "small": SMALL},
    hugging_face=HuggingFaceFormat(
        model_type="gpt2",
        read_config=_read_config,
        tensors=_stored,
        prefix="transformer.",
        repeats={"lm_head.weight": "wte.weight"},
        ignored=r"h\.\d+\.attn\.(bias|masked_bias)",
    ),
    roles=WeightRoles(
        norms=_norms,
        writes=_writes,
        processed=lambda cfg, ln_folded: replace(cfg, ln_folded=ln_folded, tied=False),
    ),
)
