"""A transformer without LayerNorm: the form of constructed and compiled models.

Every size is free, attention may look both ways, and MLPs and position embeddings may be absent.
Nothing stands between the residual stream and the weights that read it, so what a weight reads is
what was written. Checked against the equations in float64.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mechbench.models.components.attention import Attention
from mechbench.models.components.block import TransformerBlock
from mechbench.models.components.mlp import MLP
from mechbench.models.components.norm import NoNorm
from mechbench.models.components.span import CAUSAL, EVERYTHING
from mechbench.models.config_checks import require_choice, require_positive
from mechbench.models.contract import Capabilities, hook_config
from mechbench.models.decoder import Decoder
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
        require_positive(self, ("n_layers", "n_heads", "d_model", "d_head", "d_vocab", "n_ctx"))
        require_choice(self, "act", ACTIVATIONS)


def _block(cfg: PlainConfig) -> TransformerBlock:
    span = CAUSAL if cfg.causal else EVERYTHING
    attn = Attention(cfg.d_model, cfg.n_heads, cfg.n_heads, cfg.d_head, span=span)
    if not cfg.d_mlp:
        return TransformerBlock(NoNorm(), attn)
    return TransformerBlock(
        NoNorm(), attn, NoNorm(), MLP(cfg.d_model, cfg.d_mlp, ACTIVATIONS[cfg.act])
    )


class Plain(Decoder):
    """A plain transformer with hook points. See ``HookedModel`` for what it offers."""

    def __init__(self, config: PlainConfig, model_name: str = "plain"):
        super().__init__(
            config,
            blocks=(_block(config) for _ in range(config.n_layers)),
            ln_final=NoNorm(),
            learned_positions=config.learned_positions,
            tied=False,
            d_vocab_out=config.d_vocab_out,
        )
        _initialise(self)
        self.finish(
            hook_config(
                config,
                model_name,
                act_fn=config.act,
                normalization_type=None,
                attn_only=config.d_mlp == 0,
                default_prepend_bos=False,
            ),
            Capabilities(
                causal=config.causal,
                restart_at_position=config.causal,
                incremental=config.causal,
                additive_mlp=config.d_mlp > 0,
            ),
        )


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
BENCH = PlainConfig(
    n_layers=6, n_heads=8, d_model=256, d_head=32, d_mlp=1024, d_vocab=1138, n_ctx=512, act="gelu"
)  # fmt: skip

SPEC = VariantSpec(
    name="plain",
    config=PlainConfig,
    build=Plain,
    presets={
        "tiny": TINY,
        "tiny-both-ways": TINY_BOTH_WAYS,
        "tiny-attention-only": TINY_ATTENTION_ONLY,
        "bench": BENCH,
    },
    cache_elements=lambda cfg, n_tokens: 2 * cfg.n_layers * cfg.n_heads * cfg.d_head * n_tokens,
    title="Plain transformer",
    paper="our choice: the form of constructed and compiled models",
)
