"""Mixture-of-Depths (Raposo et al. 2024): GPT-2 whose routed blocks only some tokens go through.

In the degenerate setting, all tokens through every block and every router weight 1, it equals the
variant ``gpt2`` with the same weights. Checked against loops over tokens with explicit sets.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from mechbench.errors import SpecError, TaskError, did_you_mean
from mechbench.models.components.attention import Attention
from mechbench.models.components.block import TransformerBlock
from mechbench.models.components.mlp import GELU, MLP
from mechbench.models.components.norm import LayerNorm
from mechbench.models.components.routed_block import RoutedBlock
from mechbench.models.components.token_experts import TokenExperts
from mechbench.models.components.token_router import LOOKS_AHEAD, ROUTE_MODES, TokenRouter
from mechbench.models.contract import Capabilities, hook_config
from mechbench.models.decoder import Decoder, initialise
from mechbench.models.parts import (
    Reads,
    Writes,
    block_parts,
    head_names,
    head_reads,
    head_writes,
    mlp_reads,
)
from mechbench.models.spec import VariantSpec


@dataclass(frozen=True, kw_only=True)
class MoDConfig:
    """What varies between Mixture-of-Depths models.

    Attributes:
        routed_layers: blocks that tokens may go past; the paper routes every other block.
        capacity: share of a sequence that goes through a routed block in training, and wherever
            the best-scored tokens are taken.
        route_mode: in which the model is used, unless ``set_route_mode`` says otherwise. Training
            takes the best-scored tokens in any case.
        d_predictor: hidden width of the predictor.
        n_experts: of each routed layer, in place of its MLP; 0 leaves the MLP (width ``d_mlp``, as
            each expert has).
        experts_per_token: how many of them a token goes to.
        integrated: routed layers are plain blocks whose experts include one that does nothing, so
            that one router decides both, and attention always runs; otherwise experts stand inside
            blocks that tokens go through or past ("staged").
        router_loss: weight of the auxiliary cross-entropy of the scores (mean over routed blocks).
            The paper's weight is unconfirmed; this one is our choice.

    Raises:
        SpecError: layers that the model does not have, a share outside (0, 1], an unknown
            mode, or numbers of experts that do not fit.
    """

    n_layers: int
    n_heads: int
    d_model: int
    d_mlp: int
    d_vocab: int
    n_ctx: int
    routed_layers: Sequence[int]
    capacity: float = 0.125
    route_mode: str = "predictor"
    d_predictor: int = 32
    n_experts: int = 0
    experts_per_token: int = 1
    integrated: bool = False
    router_loss: float = 0.1
    layer_norm_eps: float = 1e-5

    def __post_init__(self) -> None:
        object.__setattr__(self, "routed_layers", tuple(self.routed_layers))  # files hold lists
        outside = [layer for layer in self.routed_layers if not 0 <= layer < self.n_layers]
        if outside:
            raise SpecError(f"routed_layers names {outside}, and there are {self.n_layers} layers.")
        check_capacity(self.capacity)
        if self.route_mode not in ROUTE_MODES:
            hint = did_you_mean(self.route_mode, ROUTE_MODES)
            raise SpecError(f"route_mode = {self.route_mode!r} is not known. {hint}")
        if self.integrated and not self.n_experts:
            raise SpecError("integrated = true needs experts: give n_experts of 1 or more.")
        if self.n_experts and not 1 <= self.experts_per_token <= self.n_experts:
            raise SpecError(
                f"experts_per_token = {self.experts_per_token} of n_experts = {self.n_experts}: "
                "give 1 up to the number of experts."
            )

    @property
    def d_head(self) -> int:
        return self.d_model // self.n_heads


def check_capacity(capacity: float) -> None:
    """Raises SpecError where ``capacity`` is no share of a sequence."""
    if not 0 < capacity <= 1:
        raise SpecError(
            f"capacity = {capacity} is a share of a sequence: give more than 0, up to 1."
        )


class MoD(Decoder):
    """Mixture-of-Depths with hook points. See ``HookedModel`` for what it offers."""

    def __init__(self, config: MoDConfig, model_name: str = "mod"):
        super().__init__(
            config,
            blocks=(_block(config, layer) for layer in range(config.n_layers)),
            ln_final=LayerNorm(config.d_model, config.layer_norm_eps),
            learned_positions=True,
            tied=True,
        )
        initialise(self)
        self.finish(
            hook_config(config, model_name, act_fn="gelu_new", normalization_type="LN"),
            Capabilities(additive_mlp=config.n_experts == 0),
        )
        if self.routers:
            self.set_route_mode(config.route_mode)

    @property
    def routers(self) -> dict[int, TokenRouter]:
        """The router of each routed block, by layer."""
        return {
            layer: block.mod
            for layer, block in enumerate(self.blocks)
            if isinstance(block, RoutedBlock)
        }

    def set_route_mode(self, mode: str, *, seed: int = 0, threshold: float = 0.0) -> None:
        """Decide routes in this mode from now on; ``capabilities`` follow.

        ``topk`` and ``random`` look at the whole sequence: in them the model is not causal and
        generation computes all positions at every step. See ``TokenRouter``.

        Args:
            seed: of the routes in ``random``.
            threshold: of the scores in ``aux_threshold``.

        Raises:
            TaskError: no such mode, or a model without routed blocks.
        """
        if not self.routers:
            raise TaskError(
                f"{self.cfg.model_name!r} has no blocks that tokens go past, so no route mode."
            )
        for router in self.routers.values():
            router.set_mode(mode, seed=seed, threshold=threshold)
        self.route_mode = mode
        looks_ahead = mode in LOOKS_AHEAD
        self.capabilities = Capabilities(
            causal=not looks_ahead,
            incremental=not looks_ahead,
            restart_in_block=False,
            restart_at_position=False,
            additive_heads=False,
            additive_mlp=False,
        )
        self.setup()  # the predictors' hook points come and go with the mode

    def set_capacity(self, capacity: float) -> None:
        """Send this share of a sequence through each routed block, in ``topk`` and ``random``.

        Raises:
            SpecError: no share.
        """
        check_capacity(capacity)
        for router in self.routers.values():
            router.capacity = capacity

    def training_loss(
        self,
        tokens: Int[Tensor, "batch pos"],
        generator: torch.Generator,
        scored: Bool[Tensor, "batch pos"] | None = None,
    ) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """What training minimises, in nats: next token, scores and predictors.

        Tokens are routed by rank. ``router`` is the weighted auxiliary cross-entropy, ``predictor``
        the predictors' own, which leaves no gradient in the rest of the model.
        """
        resid = self.embed_tokens(tokens)
        router, predictor = resid.new_zeros(()), resid.new_zeros(())
        n_routed = max(1, len(self.routers))
        for block in self.blocks:
            if isinstance(block, RoutedBlock):
                about_scores, about_predictions = block.mod.losses(resid)
                router = router + self.config.router_loss * about_scores / n_routed
                predictor = predictor + about_predictions / n_routed
                resid = block(resid, mode="topk")
            else:
                resid = block(resid)
        next_token = self.loss_of(resid, tokens, scored)
        parts = {"next_token": next_token, "router": router, "predictor": predictor}
        return next_token + router + predictor, {
            name: part.detach() for name, part in parts.items()
        }

    def block_parts(self, layer: int) -> Iterator[Reads | Writes]:
        """A routed block is one node, which reads the stream once and writes its weighted sum.

        Where experts stand in a plain block each is a writer, and they read as one.
        """
        block = self.blocks[layer]
        if layer in self.routers:
            at, node = f"blocks.{layer}", (f"b{layer}",)
            copy = f"{at}.hook_block_in"
            yield Reads(node, (node,), f"{at}.hook_resid_pre", copy, copy)
            yield Writes(node, f"{at}.mod.hook_scaled_delta")
        elif isinstance(block.mlp, TokenExperts):
            heads = head_names(layer, self.cfg.n_heads)
            yield from head_reads(layer, block, heads, self.cfg.n_heads)
            yield head_writes(layer, block.attn, heads)  # pyright: ignore
            experts = tuple(f"m{layer}.e{e}" for e in range(self.config.n_experts))
            yield mlp_reads(layer, "hook_resid_mid", experts)
            yield Writes(experts, f"blocks.{layer}.mlp.hook_expert_out")
        else:
            yield from block_parts(self.cfg, layer, block)


def _block(cfg: MoDConfig, layer: int) -> nn.Module:
    routed = layer in cfg.routed_layers
    ln1, ln2 = (LayerNorm(cfg.d_model, cfg.layer_norm_eps) for _ in range(2))
    attn = Attention(cfg.d_model, cfg.n_heads, cfg.n_heads, cfg.d_head)
    mlp = _experts(cfg) if routed and cfg.n_experts else MLP(cfg.d_model, cfg.d_mlp, GELU)
    if not routed or cfg.integrated:
        return TransformerBlock(ln1, attn, ln2, mlp)
    router = TokenRouter(cfg.d_model, cfg.d_predictor, cfg.capacity, layer)
    return RoutedBlock(ln1, attn, ln2, mlp, router)


def _experts(cfg: MoDConfig) -> TokenExperts:
    return TokenExperts(
        cfg.d_model, cfg.d_mlp, cfg.n_experts, cfg.experts_per_token, GELU, no_op=cfg.integrated
    )


def _cache_elements(cfg: MoDConfig, n_tokens: int) -> int:
    """Keys and values of all tokens; in routed blocks a position (4 bytes) with each."""
    n_routed = 0 if cfg.integrated else len(cfg.routed_layers)
    return (2 * cfg.n_layers * cfg.d_model + n_routed) * n_tokens


TINY = MoDConfig(
    n_layers=4, n_heads=3, d_model=24, d_mlp=40, d_vocab=101, n_ctx=48, routed_layers=(1, 3),
    capacity=0.4, d_predictor=7,
)  # fmt: skip
TINY_STAGED = replace(TINY, n_experts=5, experts_per_token=2)
BENCH = MoDConfig(
    n_layers=6, n_heads=8, d_model=256, d_mlp=1024, d_vocab=1138, n_ctx=512,
    routed_layers=(1, 3, 5), capacity=0.125,
)  # fmt: skip

SPEC = VariantSpec(
    name="mod",
    config=MoDConfig,
    build=MoD,
    presets={
        "tiny": TINY,
        "tiny-threshold": replace(TINY, route_mode="aux_threshold"),
        "tiny-topk": replace(TINY, route_mode="topk"),
        "tiny-staged": TINY_STAGED,
        "tiny-integrated": replace(TINY_STAGED, integrated=True, experts_per_token=1),
        "bench": BENCH,
        "bench-topk": replace(BENCH, route_mode="topk"),
    },
    cache_elements=_cache_elements,
    title="Mixture-of-Depths",
    paper="Raposo et al. 2024, arXiv 2404.02258",
    inspections=("router_map", "router_interventions", "token_routes", "forced_route"),
    hook_shapes={
        "mod.hook_router_logits": "batch pos",
        "mod.hook_router_weights": "batch pos",
        "mod.hook_selected_mask": "batch pos",
        "mod.hook_predictor_logits": "batch pos",
        "mod.hook_block_delta": "batch pos d_model",
        "mod.hook_scaled_delta": "batch pos d_model",
        "mlp.hook_expert_logits": "batch pos choice",
        "mlp.hook_expert_weights": "batch pos choice",
        "mlp.hook_expert_pre": "batch pos expert d_mlp",
        "mlp.hook_expert_post": "batch pos expert d_mlp",
        "mlp.hook_expert_out": "batch pos expert d_model",
    },
    axis_sizes=lambda cfg: {
        "expert": cfg.n_experts,
        "choice": cfg.n_experts + cfg.integrated,  # the last does nothing
    },
    two_paths=(
        r"\.(attn|mlp|ln1|ln2)\.|hook_(attn_in|attn_out|resid_mid|mlp_in|mlp_out)$"
        r"|mod\.hook_(block|scaled)_delta$"
    ),
    cache_is_bound=True,
    static_shapes=False,
)
