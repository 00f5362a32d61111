"""Lory (Zhong et al. 2024): experts merged in parameter space, routed by the segment before.

Every MLP of a Llama-like model becomes ``n_experts`` SwiGLU experts. A segment of
``segment_length`` tokens uses one merged MLP, whose parameters are the experts' under the weights
``softmax(R mean)``, with the mean of what the MLP read in the segment before (the paper's section
3). There is no balancing loss and no top-k. With one expert, or equal ones, it is Llama.

In the circuit graph an MLP is one node: parameters are merged, so what the experts would write by
themselves does not add up to what the MLP writes.

Our choices: the causal forms of the first segment; in the place of the paper's dense first 5 % of
training, all experts begin as one plus noise a tenth its size. The paper's inference with one
routing for the prompt is ``set_routing("prompt")``.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from mechbench.errors import TaskError
from mechbench.models.components.attention import Attention
from mechbench.models.components.block import TransformerBlock
from mechbench.models.components.merged_mlp import MergedMLP
from mechbench.models.components.norm import RMSNorm
from mechbench.models.components.rotary import Rotary, geometric_frequencies
from mechbench.models.components.segment_routing import (
    FirstSegment,
    OwnMean,
    RoutedMemory,
    RunningMean,
    Uniform,
)
from mechbench.models.config_checks import require_choice, require_positive
from mechbench.models.contract import Capabilities, hook_config
from mechbench.models.decoder import Decoder, initialise
from mechbench.models.spec import VariantSpec

FIRST_SEGMENT: dict[str, FirstSegment] = {
    "paper": OwnMean(learns=False),
    "uniform": Uniform(),
    "running_mean": RunningMean(),
    "skip_loss": OwnMean(learns=True),
}
EXPERT_NOISE = 0.1


@dataclass(frozen=True, kw_only=True)
class LoryConfig:
    """What varies between Lory models.

    Attributes:
        n_kv_heads: keys and values; query heads share them in equal groups.
        d_mlp: of each expert, and of the merged MLP.
        segment_length: tokens that share one merged MLP.
        first_segment: how the first segment is routed: ``uniform`` (all experts alike),
            ``running_mean`` (each position by the mean up to itself), ``paper`` (its own mean,
            without gradients to the router; later tokens of the segment change earlier ones) or
            ``skip_loss`` (its own mean, and training does not score the segment's tokens).
        tied: the unembedding is the transposed embedding.

    Raises:
        SpecError: an unknown ``first_segment``, or no expert, or no token in a segment.
    """

    n_layers: int
    n_heads: int
    n_kv_heads: int
    d_model: int
    d_head: int
    d_mlp: int
    n_experts: int
    segment_length: int
    d_vocab: int
    n_ctx: int
    first_segment: str = "uniform"
    rope_theta: float = 10000.0
    norm_eps: float = 1e-5
    tied: bool = True

    def __post_init__(self) -> None:
        require_positive(self, ("n_experts", "segment_length"))
        require_choice(self, "first_segment", FIRST_SEGMENT)


class LoryBlock(TransformerBlock):
    """The pre-norm block with an MLP that remembers, too."""

    mlp: MergedMLP

    def forward(
        self,
        resid_pre: Float[Tensor, "batch pos d_model"],
        *,
        memory: RoutedMemory | None = None,
    ) -> Float[Tensor, "batch pos d_model"]:
        return self.to_post(self.to_mid(resid_pre, memory=memory), memory=memory)

    def to_post(
        self,
        resid_mid: Float[Tensor, "batch pos d_model"],
        *,
        memory: RoutedMemory | None = None,
    ) -> Float[Tensor, "batch pos d_model"]:
        # A copy, because a hook may write in place and resid_mid is also the skip connection.
        mlp_in = self.hook_mlp_in(resid_mid.clone()) if self.use_hook_mlp_in else resid_mid
        mlp_out = self.hook_mlp_out(self.mlp(self.ln2(mlp_in), memory))
        return self.hook_resid_post(resid_mid + mlp_out)

    def new_memory(self) -> RoutedMemory:
        """An empty memory of this layer's keys and values and of its routing."""
        return RoutedMemory(super().new_memory())


def _block(cfg: LoryConfig) -> LoryBlock:
    rotary = Rotary(geometric_frequencies(cfg.d_head, cfg.rope_theta), interleaved=False)
    return LoryBlock(
        RMSNorm(cfg.d_model, cfg.norm_eps),
        Attention(cfg.d_model, cfg.n_heads, cfg.n_kv_heads, cfg.d_head, rotary=rotary, bias=False),
        RMSNorm(cfg.d_model, cfg.norm_eps),
        MergedMLP(
            cfg.d_model,
            cfg.d_mlp,
            cfg.n_experts,
            nn.functional.silu,
            segment_length=cfg.segment_length,
            first=FIRST_SEGMENT[cfg.first_segment],
        ),
    )


class Lory(Decoder):
    """Lory with hook points. See ``HookedModel`` for what it offers.

    Where the first segment is routed by its own mean the model is not causal, and generation
    computes everything again at every step.
    """

    def __init__(self, config: LoryConfig, model_name: str = "lory"):
        super().__init__(
            config,
            blocks=(_block(config) for _ in range(config.n_layers)),
            ln_final=RMSNorm(config.d_model, config.norm_eps),
            learned_positions=False,
            tied=config.tied,
        )
        initialise(self)
        _start_alike(self)
        causal = FIRST_SEGMENT[config.first_segment].causal
        self.finish(
            hook_config(
                config,
                model_name,
                n_key_value_heads=config.n_kv_heads,
                act_fn="silu",
                normalization_type="RMS",
            ),
            Capabilities(
                causal=causal,
                restart_in_block=False,
                restart_at_position=False,
                incremental=causal,
                additive_mlp=False,
            ),
        )

    def set_routing(self, routing: str) -> None:
        """Route every segment by the one before (``segments``), or everything by the prompt.

        Under ``prompt`` the tokens of one call, or the first that memories are given, are merged
        for once, by their own mean, and so is all that continues them: a later token of the prompt
        changes earlier positions, and no token after the prompt does. The ``segment`` axes have
        length 1 then. Source: the paper's section 3.3 on inference.

        Raises:
            TaskError: an unknown ``routing``.
        """
        if routing not in ("segments", "prompt"):
            raise TaskError(f"routing={routing!r} is not known: use 'segments' or 'prompt'.")
        cfg = self.config
        first, length = FIRST_SEGMENT[cfg.first_segment], cfg.segment_length
        if routing == "prompt":
            first, length = FIRST_SEGMENT["skip_loss"], cfg.n_ctx
        for block in self.blocks:
            block.mlp.first, block.mlp.segment_length = first, length  # pyright: ignore
        self.capabilities = replace(
            self.capabilities,
            causal=first.causal,
            incremental=first.causal or routing == "prompt",
        )

    def training_loss(
        self,
        tokens: Int[Tensor, "batch pos"],
        generator: torch.Generator,
        scored: Bool[Tensor, "batch pos"] | None = None,
    ) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """The mean next-token cross-entropy, nats; of tokens after the first segment alone where
        that is skipped."""
        if self.config.first_segment != "skip_loss":
            return super().training_loss(tokens, generator, scored)
        if scored is not None:
            raise TaskError(
                f"{self.cfg.model_name!r} skips the loss of its first segment, so it cannot be "
                "trained on chosen tokens alone: set first_segment to another rule."
            )
        skipped = self.config.segment_length
        if tokens.shape[1] <= skipped:
            raise TaskError(
                f"Sequences of {tokens.shape[1]} tokens have none after their first segment of "
                f"{skipped}, which is skipped: train on longer ones."
            )
        # What stands at the segment's last position predicts a token outside, and leaks nothing.
        logits = self(tokens)[:, skipped - 1 : -1]
        return nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, skipped:].flatten()), {}


@torch.no_grad()
def _start_alike(model: Lory) -> None:
    """Every expert becomes the first one plus noise, so that training begins nearly dense."""
    for name, weight in model.named_parameters():
        if name.endswith((".mlp.W_gate", ".mlp.W_in", ".mlp.W_out")):
            weight[1:] = weight[:1] + EXPERT_NOISE * weight[1:]


def _cache_elements(cfg: LoryConfig, n_tokens: int) -> int:
    """Keys and values, and of the last segment: sum, logits, weights and merged parameters."""
    route = cfg.d_model + 2 * cfg.n_experts + 3 * cfg.d_model * cfg.d_mlp
    return cfg.n_layers * (2 * cfg.n_kv_heads * cfg.d_head * n_tokens + route)


_CHECKED_TOKENS = 9  # of the conformance suite's prompts, which the axes below are of

TINY = LoryConfig(
    n_layers=3, n_heads=4, n_kv_heads=2, d_model=24, d_head=10, d_mlp=40, n_experts=5,
    segment_length=4, d_vocab=101, n_ctx=48,
)  # fmt: skip
BENCH = LoryConfig(
    n_layers=6, n_heads=8, n_kv_heads=8, d_model=256, d_head=32, d_mlp=688, n_experts=4,
    segment_length=64, d_vocab=1138, n_ctx=512,
)  # fmt: skip

SPEC = VariantSpec(
    name="lory",
    config=LoryConfig,
    build=Lory,
    presets={
        "tiny": TINY,
        "tiny-paper": replace(TINY, first_segment="paper"),
        "tiny-running-mean": replace(TINY, first_segment="running_mean", segment_length=6),
        "tiny-skip-loss": replace(TINY, first_segment="skip_loss"),
        "bench": BENCH,
    },
    cache_elements=_cache_elements,
    title="Lory",
    paper="Zhong et al. 2024, arXiv 2405.03133",
    control="llama",
    inspections=("expert_load", "expert_interventions", "expert_knockout", "merged_experts"),
    hook_shapes={
        "mlp.hook_segment_mean": "batch segment d_model",
        "mlp.hook_router_logits": "batch segment expert",
        "mlp.hook_expert_weights": "batch segment expert",
        "mlp.hook_first_weights": "batch first expert",
    },
    axis_sizes=lambda cfg: {
        "expert": cfg.n_experts,
        "segment": -(-_CHECKED_TOKENS // cfg.segment_length),
        "first": min(_CHECKED_TOKENS, cfg.segment_length),
    },
)
