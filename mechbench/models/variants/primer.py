"""Primer (So et al. 2021, arXiv 2109.08668): squared ReLU and convolved attention, found by search.

Primer-EZ is GPT-2's block with these two changes. Full Primer also shares what queries and keys
are made of, and normalises what an MLP writes instead of what it reads. The authors' norm, which
divides by the root of ``mean(x (x - mean(x)))``, is LayerNorm, because that is the variance.

Unconfirmed, so absent: the spatial scalars after the softmax and the constants that the search
left behind. The wide MLP (12 times a smaller width) is a matter of sizes. Positions are learned
here, as in GPT-2; in the published T5 code they are relative.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformer_lens.hook_points import HookPoint

from mechbench.models.components.attention import Attention
from mechbench.models.components.convolved_attention import (
    N_TAPS,
    ConvolvedAttention,
    ConvolvedMemory,
    SharedConvolvedAttention,
)
from mechbench.models.components.head_inputs import HeadInputs
from mechbench.models.components.mlp import GELU, MLP
from mechbench.models.components.norm import LayerNorm
from mechbench.models.config_checks import require_choice, require_equal_heads
from mechbench.models.contract import Capabilities, hook_config
from mechbench.models.decoder import Decoder, initialise
from mechbench.models.parts import Reads, Writes, head_names, head_reads, head_writes, mlp_reads
from mechbench.models.spec import VariantSpec


def squared_relu(x: Tensor) -> Tensor:
    """``max(x, 0) ** 2``."""
    return nn.functional.relu(x).square()


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"relu2": squared_relu, "gelu": GELU}


@dataclass(frozen=True, kw_only=True)
class PrimerConfig:
    """What varies between Primers.

    Attributes:
        form: ``ez``, or ``full``: shared queries and keys, and MLPs normalised after.
        act: of the MLPs: ``relu2``, or ``gelu`` to compare with GPT-2.

    Raises:
        SpecError: an unknown ``form`` or ``act``, or heads that do not divide the width.
    """

    n_layers: int
    n_heads: int
    d_model: int
    d_mlp: int
    d_vocab: int
    n_ctx: int
    form: str = "ez"
    act: str = "relu2"
    norm_eps: float = 1e-5

    @property
    def d_head(self) -> int:
        return self.d_model // self.n_heads

    def __post_init__(self) -> None:
        require_choice(self, "form", BLOCKS)
        require_choice(self, "act", ACTIVATIONS)
        require_equal_heads(self)


class _PrimerBlock(HeadInputs, ABC):
    """``x + attn(ln1(x))``, then ``x + branch(x)``; a subclass gives the MLP's branch."""

    hook_out_is_single_residual_stream = True  # read by TransformerLens' logit lens

    def __init__(self, cfg: PrimerConfig, attn: ConvolvedAttention):
        super().__init__()
        self.ln1 = LayerNorm(cfg.d_model, cfg.norm_eps)
        self.attn: Attention = attn
        self.mlp = MLP(cfg.d_model, cfg.d_mlp, ACTIVATIONS[cfg.act])
        self.use_split_qkv_input = self.use_attn_in = self.use_hook_mlp_in = False
        self.hook_resid_pre, self.hook_attn_in = HookPoint(), HookPoint()
        self.hook_attn_out, self.hook_resid_mid = HookPoint(), HookPoint()
        self.hook_mlp_in, self.hook_mlp_out = HookPoint(), HookPoint()
        self.hook_resid_post = HookPoint()

    def forward(
        self,
        resid_pre: Float[Tensor, "batch pos d_model"],
        *,
        memory: ConvolvedMemory | None = None,
    ) -> Float[Tensor, "batch pos d_model"]:
        return self.to_post(self.to_mid(resid_pre, memory=memory))

    def new_memory(self) -> ConvolvedMemory:
        """An empty memory of this layer's keys, values and last inputs of convolutions."""
        return ConvolvedMemory()

    def to_mid(
        self,
        resid_pre: Float[Tensor, "batch pos d_model"],
        *,
        memory: ConvolvedMemory | None = None,
        queries: Int[Tensor, "batch query"] | None = None,
    ) -> Float[Tensor, "batch query d_model"]:
        resid_pre = self.hook_resid_pre(resid_pre)
        attn_out = self.attn(*self.head_inputs(resid_pre), memory=memory, queries=queries)
        if queries is not None:
            rows = torch.arange(len(queries), device=queries.device)[:, None]
            resid_pre = resid_pre[rows, queries]
        return self.hook_resid_mid(resid_pre + self.hook_attn_out(attn_out))

    def to_post(
        self, resid_mid: Float[Tensor, "batch pos d_model"]
    ) -> Float[Tensor, "batch pos d_model"]:
        # A copy, because a hook may write in place and resid_mid is also the skip connection.
        mlp_in = self.hook_mlp_in(resid_mid.clone()) if self.use_hook_mlp_in else resid_mid
        return self.hook_resid_post(resid_mid + self.hook_mlp_out(self.branch(mlp_in)))

    @abstractmethod
    def branch(self, x: Tensor) -> Tensor:
        """What the MLP adds to the stream that it reads."""


class _EZBlock(_PrimerBlock):
    """The MLP reads a norm."""

    def __init__(self, cfg: PrimerConfig):
        super().__init__(cfg, ConvolvedAttention(cfg.d_model, cfg.n_heads, cfg.d_head))
        self.ln2 = LayerNorm(cfg.d_model, cfg.norm_eps)

    def branch(self, x: Tensor) -> Tensor:
        return self.mlp(self.ln2(x))


class _FullBlock(_PrimerBlock):
    """The MLP reads the stream itself and writes through a norm, ``hook_mlp_postnorm``."""

    def __init__(self, cfg: PrimerConfig):
        super().__init__(cfg, SharedConvolvedAttention(cfg.d_model, cfg.n_heads, cfg.d_head))
        self.ln2_post = LayerNorm(cfg.d_model, cfg.norm_eps)
        self.hook_mlp_postnorm = HookPoint()

    def branch(self, x: Tensor) -> Tensor:
        return self.hook_mlp_postnorm(self.ln2_post(self.mlp(x)))


BLOCKS: dict[str, Callable[[PrimerConfig], _PrimerBlock]] = {"ez": _EZBlock, "full": _FullBlock}


class Primer(Decoder):
    """Primer with hook points. See ``HookedModel`` for what it offers.

    It can be restarted at a layer, but not at a position from keys and values alone: convolutions
    read the two positions before.
    """

    def __init__(self, config: PrimerConfig, model_name: str = "primer"):
        block = BLOCKS[config.form]
        super().__init__(
            config,
            blocks=(block(config) for _ in range(config.n_layers)),
            ln_final=LayerNorm(config.d_model, config.norm_eps),
            learned_positions=True,
            tied=True,
        )
        initialise(self)
        self.finish(
            hook_config(config, model_name, act_fn=config.act, normalization_type="LN"),
            Capabilities(
                restart_at_position=False,
                head_weights=False,
                additive_mlp=config.form == "ez",
                local_mlp=config.form == "ez",
            ),
        )

    def block_parts(self, layer: int) -> Iterator[Reads | Writes]:
        """As a plain block's; heads read through ``hook_q_pre_conv`` and its siblings.

        In the full form queries are made of all heads of the shared projection, so there the q
        input ``a1.s0`` of one feeds every head.
        """
        block, heads = self.blocks[layer], head_names(layer, self.cfg.n_heads)
        for reads in head_reads(layer, block, heads, self.cfg.n_heads):
            reads = replace(reads, projected=f"{reads.projected}_pre_conv")
            if self.config.form == "full" and reads.names[0].endswith("<q>"):
                reads = replace(
                    reads,
                    names=tuple(f"a{layer}.s{h}<q>" for h in range(self.cfg.n_heads)),
                    feeds=(heads,) * len(heads),
                    weight=lambda: block.attn.W_K,  # pyright: ignore
                )
            yield reads
        yield head_writes(layer, block.attn, heads)  # pyright: ignore
        yield mlp_reads(layer, "hook_resid_mid", (f"m{layer}",))
        yield Writes((f"m{layer}",), f"blocks.{layer}.hook_mlp_out")


TINY = PrimerConfig(n_layers=3, n_heads=4, d_model=28, d_mlp=40, d_vocab=101, n_ctx=48)
BENCH = PrimerConfig(n_layers=6, n_heads=8, d_model=256, d_mlp=1024, d_vocab=1138, n_ctx=512)

SPEC = VariantSpec(
    name="primer",
    config=PrimerConfig,
    build=Primer,
    presets={"tiny": TINY, "tiny-full": replace(TINY, form="full"), "bench": BENCH},
    cache_elements=lambda cfg, n: cfg.n_layers * cfg.d_model * (2 * n + 3 * min(n, N_TAPS - 1)),
    title="Primer",
    paper="So et al. 2021, arXiv 2109.08668",
    inspections=("qkv_convolutions",),
    hook_shapes={
        "attn.hook_q_pre_conv": "batch pos head d_head",
        "attn.hook_k_pre_conv": "batch pos head d_head",
        "attn.hook_v_pre_conv": "batch pos head d_head",
        "hook_mlp_postnorm": "batch pos d_model",
    },
)
