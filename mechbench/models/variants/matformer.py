"""MatFormer (Devvrit et al. 2023, arXiv 2310.07707): GPT-2 whose MLPs hold smaller MLPs.

One set of weights is several models: granularity ``i`` runs the first ``widths[i]`` neurons of
every MLP, and layers may be set to different ones (Mix'n'Match). Everything else is shared.

The four widths F/8, F/4, F/2 and F and the undivided output bias are those of the authors' released
code. Unconfirmed: training on one granularity drawn for each step, from the paper's later version;
the uniform draw is our choice.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mechbench.errors import SpecError
from mechbench.models.components.attention import Attention
from mechbench.models.components.block import TransformerBlock
from mechbench.models.components.mlp import GELU
from mechbench.models.components.nested_mlp import NestedMLP
from mechbench.models.components.norm import LayerNorm
from mechbench.models.config_checks import require_choice, require_equal_heads
from mechbench.models.contract import Capabilities, hook_config
from mechbench.models.decoder import Decoder, initialise
from mechbench.models.parts import (
    Reads,
    Writes,
    head_names,
    head_reads,
    head_writes,
    mlp_reads,
)
from mechbench.models.spec import VariantSpec

Loss = tuple[Tensor, dict[str, Tensor]]
Scored = Tensor | None


@dataclass(frozen=True, kw_only=True)
class MatFormerConfig:
    """What varies between MatFormers.

    Attributes:
        widths: neurons of each granularity, rising.
        granularities: of each layer to begin with; empty for the largest everywhere.
        training: ``joint``, the sum of the losses of all granularities; or ``sampled``, the loss of
            one, drawn for each step.

    Raises:
        SpecError: widths that do not rise, granularities that do not fit the layers, an unknown
            ``training``, or heads that do not divide the width.
    """

    n_layers: int
    n_heads: int
    d_model: int
    widths: Sequence[int]
    d_vocab: int
    n_ctx: int
    granularities: Sequence[int] = ()
    training: str = "joint"
    norm_eps: float = 1e-5

    def __post_init__(self) -> None:
        for name in ("widths", "granularities"):
            object.__setattr__(self, name, tuple(getattr(self, name)))  # lists in files
        if not self.widths or any(
            a >= b for a, b in zip((0, *self.widths), self.widths, strict=False)
        ):
            raise SpecError(f"widths = {list(self.widths)} must rise from at least 1.")
        require_choice(self, "training", TRAINING)
        require_equal_heads(self)
        if self.granularities:
            check_granularities(self.granularities, self.n_layers, len(self.widths))

    @property
    def d_mlp(self) -> int:
        return self.widths[-1]

    @property
    def d_head(self) -> int:
        return self.d_model // self.n_heads


def check_granularities(granularities: Sequence[int], n_layers: int, n: int) -> None:
    """Raises SpecError unless there is one of the ``n`` granularities for each layer."""
    if len(granularities) != n_layers or not all(0 <= i < n for i in granularities):
        raise SpecError(
            f"granularities = {list(granularities)}: give one for each of the {n_layers} layers, "
            f"each from 0 to {n - 1}."
        )


def _block(cfg: MatFormerConfig) -> TransformerBlock:
    return TransformerBlock(
        LayerNorm(cfg.d_model, cfg.norm_eps),
        Attention(cfg.d_model, cfg.n_heads, cfg.n_heads, cfg.d_head),
        LayerNorm(cfg.d_model, cfg.norm_eps),
        NestedMLP(cfg.d_model, tuple(cfg.widths), GELU),
    )


class MatFormer(Decoder):
    """MatFormer with hook points. See ``HookedModel`` for what it offers.

    The granularity is no weight: a loaded model runs those of its config.
    """

    def __init__(self, config: MatFormerConfig, model_name: str = "matformer"):
        super().__init__(
            config,
            blocks=(_block(config) for _ in range(config.n_layers)),
            ln_final=LayerNorm(config.d_model, config.norm_eps),
            learned_positions=True,
            tied=True,
        )
        initialise(self)
        self.finish(
            hook_config(config, model_name, act_fn="gelu_new", normalization_type="LN"),
            Capabilities(),
        )
        if config.granularities:
            self.set_granularity(config.granularities)

    @property
    def granularities(self) -> tuple[int, ...]:
        """The granularity that each layer runs."""
        return tuple(block.mlp.granularity for block in self.blocks)  # pyright: ignore

    def set_granularity(self, granularity: int | Sequence[int]) -> None:
        """Run this granularity in all layers, or one for each layer.

        Raises:
            SpecError: one that the model does not have, or not as many as layers.
        """
        n_layers = self.cfg.n_layers
        each = [granularity] * n_layers if isinstance(granularity, int) else list(granularity)
        check_granularities(each, n_layers, len(self.config.widths))
        for block, index in zip(self.blocks, each, strict=True):
            block.mlp.granularity = index  # pyright: ignore

    @contextmanager
    def at(self, granularity: int | Sequence[int]) -> Iterator["MatFormer"]:
        """Run this granularity inside the context, and afterwards those that ran before.

        Raises:
            SpecError: as ``set_granularity``.
        """
        before = self.granularities
        self.set_granularity(granularity)
        try:
            yield self
        finally:
            self.set_granularity(before)

    def training_loss(
        self,
        tokens: Int[Tensor, "batch pos"],
        generator: torch.Generator,
        scored: Bool[Tensor, "batch pos"] | None = None,
    ) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        return TRAINING[self.config.training](self, tokens, generator, scored)

    def block_parts(self, layer: int) -> Iterator[Reads | Writes]:
        """As a plain block's, with a node ``m1.r0`` for each ring of the MLP.

        The rings are fed by the one reader ``m1``. ``b_out`` belongs to none of them.
        """
        block, heads = self.blocks[layer], head_names(layer, self.cfg.n_heads)
        rings = tuple(f"m{layer}.r{i}" for i in range(len(self.config.widths)))
        yield from head_reads(layer, block, heads, self.cfg.n_heads)
        yield head_writes(layer, block.attn, heads)  # pyright: ignore
        yield mlp_reads(layer, "hook_resid_mid", rings)
        yield Writes(rings, f"blocks.{layer}.mlp.hook_ring_out")


def _joint(model: MatFormer, tokens: Tensor, generator: torch.Generator, scored: Scored) -> Loss:
    """The sum over granularities; nothing is drawn."""
    parts = {
        f"loss_{width}": _loss(model, tokens, i, scored)
        for i, width in enumerate(model.config.widths)
    }
    total = torch.stack(list(parts.values())).sum()
    return total, {name: part.detach() for name, part in parts.items()}


def _sampled(model: MatFormer, tokens: Tensor, generator: torch.Generator, scored: Scored) -> Loss:
    """One granularity, each as likely as the others."""
    drawn = int(torch.randint(len(model.config.widths), (), generator=generator))
    loss = _loss(model, tokens, drawn, scored)
    return loss, {f"loss_{model.config.widths[drawn]}": loss.detach()}


def _loss(model: MatFormer, tokens: Tensor, granularity: int, scored: Scored) -> Tensor:
    with model.at(granularity):
        return model.next_token_loss(tokens, scored)


TRAINING: dict[str, Callable[[MatFormer, Tensor, torch.Generator, Scored], Loss]] = {
    "joint": _joint,
    "sampled": _sampled,
}

TINY = MatFormerConfig(
    n_layers=3, n_heads=4, d_model=28, widths=(5, 10, 20, 40), d_vocab=101, n_ctx=48
)
BENCH = MatFormerConfig(
    n_layers=6, n_heads=8, d_model=256, widths=(128, 256, 512, 1024), d_vocab=1138, n_ctx=512
)

SPEC = VariantSpec(
    name="matformer",
    config=MatFormerConfig,
    build=MatFormer,
    presets={
        "tiny": TINY,
        "tiny-mixed": replace(TINY, granularities=(0, 2, 1), training="sampled"),
        "bench": BENCH,
        "bench-smallest": replace(BENCH, granularities=(0,) * 6),
    },
    cache_elements=lambda cfg, n_tokens: 2 * cfg.n_layers * cfg.d_model * n_tokens,
    title="MatFormer",
    paper="Devvrit et al. 2023, arXiv 2310.07707",
    inspections=("mlp_rings",),
    hook_shapes={
        "mlp.hook_granularity": "batch pos ring",
        "mlp.hook_ring_out": "batch pos ring d_model",
    },
    axis_sizes=lambda cfg: {"ring": len(cfg.widths)},
    settings=lambda model: (
        (f"{width} neurons in each layer", model.at(i))
        for i, width in enumerate(model.config.widths)
    ),
    two_paths=r"mlp\.hook_(granularity|pre|post|ring_out)$",
)
