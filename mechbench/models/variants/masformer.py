"""MASFormer (Zhang et al. 2023): full attention in some layers, near positions alone in the rest.

Otherwise GPT-2, without new parameters, so that a trained GPT-2 can be converted. Unconfirmed:
which layers of the published model are full (recalled: the bottom ones) and its block size
(recalled: 1024), so any layout can be given. Positions further back than a layer's span are masked,
and generation does not keep them; the full forward computes the masked scores all the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from mechbench.errors import CheckpointError, SpecError
from mechbench.models.base import HookedModel
from mechbench.models.components.block import TransformerBlock, gelu_block
from mechbench.models.components.embedding import TiedUnembedding
from mechbench.models.components.norm import LayerNorm
from mechbench.models.components.span import CAUSAL, Blockwise, Causal, Window, span_of
from mechbench.models.config_checks import require_equal_heads
from mechbench.models.contract import Capabilities, hook_config
from mechbench.models.decoder import Decoder, initialise
from mechbench.models.spec import VariantSpec


@dataclass(frozen=True, kw_only=True)
class MASFormerConfig:
    """What varies between MASFormers.

    Attributes:
        spans: of each layer: ``full``, ``block:16`` or ``window:16``.
        tied: the unembedding is the transposed embedding.

    Raises:
        SpecError: a span that means nothing, not one for each layer, or a ``d_model`` that does
            not divide into heads.
    """

    n_layers: int
    n_heads: int
    d_model: int
    d_mlp: int
    d_vocab: int
    n_ctx: int
    spans: Sequence[str]
    layer_norm_eps: float = 1e-5
    tied: bool = True

    def __post_init__(self) -> None:
        if isinstance(self.spans, str):
            raise SpecError(f"spans = {self.spans!r} must be a list, with one span for each layer.")
        object.__setattr__(self, "spans", tuple(self.spans))  # JSON and YAML have lists
        for text in self.spans:
            span_of(text)
        if len(self.spans) != self.n_layers:
            raise SpecError(
                f"spans names {len(self.spans)} layers, and n_layers is {self.n_layers}: give one "
                "span for each layer, from the bottom."
            )
        require_equal_heads(self)

    @property
    def d_head(self) -> int:
        return self.d_model // self.n_heads


def _span(cfg: MASFormerConfig, layer: int) -> Causal | Window | Blockwise:
    """The layer's span; one as long as the context is the causal one, and as fast."""
    match span_of(cfg.spans[layer]):
        case Window(size) | Blockwise(size) if size >= cfg.n_ctx:
            return CAUSAL
        case span:
            return span


def _block(cfg: MASFormerConfig, layer: int) -> TransformerBlock:
    return gelu_block(
        cfg.d_model,
        cfg.n_heads,
        cfg.d_head,
        cfg.d_mlp,
        span=_span(cfg, layer),
        norm_eps=cfg.layer_norm_eps,
    )


class MASFormer(Decoder):
    """MASFormer with hook points. See ``HookedModel`` for what it offers."""

    def __init__(self, config: MASFormerConfig, model_name: str = "masformer"):
        super().__init__(
            config,
            blocks=(_block(config, layer) for layer in range(config.n_layers)),
            ln_final=LayerNorm(config.d_model, config.layer_norm_eps),
            learned_positions=True,
            tied=config.tied,
        )
        initialise(self)
        self.finish(
            hook_config(config, model_name, act_fn="gelu_new", normalization_type="LN"),
            Capabilities(),
        )


def from_gpt2(model: HookedModel, spans: Sequence[str]) -> MASFormer:
    """A MASFormer with the weights of a model of variant ``gpt2``, tokenizer included.

    With all spans full it computes the same; otherwise the paper trains it further.

    Raises:
        SpecError: spans that mean nothing, or not one for each layer.
        CheckpointError: a model of another architecture, or one whose LayerNorm is folded.
    """
    norm = model.ln_final
    if not isinstance(norm, LayerNorm):
        raise CheckpointError(
            f"{model.cfg.model_name!r} has no LayerNorm with weights (it is folded, or the "
            "architecture has another norm). Load a model of variant gpt2 without fold_ln."
        )
    cfg = model.cfg
    config = MASFormerConfig(
        n_layers=cfg.n_layers,
        n_heads=cfg.n_heads,
        d_model=cfg.d_model,
        d_mlp=cfg.d_mlp,
        d_vocab=cfg.d_vocab,
        n_ctx=cfg.n_ctx,
        spans=tuple(spans),
        layer_norm_eps=norm.eps,
        tied=isinstance(model.unembed, TiedUnembedding),
    )
    weights = model.state_dict()
    found = SPEC.build_empty(config, cfg.model_name, cfg.dtype)
    shapes = {name: value.shape for name, value in found.state_dict().items()}
    if {name: value.shape for name, value in weights.items()} != shapes:
        differing = sorted(
            name
            for name in weights.keys() | shapes.keys()
            if name not in weights or weights[name].shape != shapes.get(name)
        )
        raise CheckpointError(
            f"{cfg.model_name!r} does not have the weights of variant gpt2: {differing[:5]} differ "
            "in name or shape. Convert a model of that variant."
        )
    found.load_state_dict(weights)
    found.to(cfg.device)
    found.tokenizer = model.tokenizer
    steps = (*model.source.processing, f"spans {' '.join(config.spans)}")
    found.source = replace(model.source, processing=steps)
    return found


def score_share(config: MASFormerConfig, n_tokens: int) -> float:
    """Attention scores that a kernel for these spans computes, as a share of full attention's.

    ``(l T^2 + sum of T b) / (L T^2)`` for l full layers of L and T tokens, b the size of each
    other layer's span. Source: our arithmetic; the paper claims up to 75 % less.
    """
    sizes = [getattr(_span(config, layer), "size", n_tokens) for layer in range(config.n_layers)]
    return sum(min(size, n_tokens) for size in sizes) / (config.n_layers * n_tokens)


def _kept(span: Causal | Window | Blockwise, n_tokens: int) -> int:
    """How many positions of ``n_tokens`` the next one may still see."""
    match span:
        case Window(size):
            return min(n_tokens, size - 1)
        case Blockwise(size):
            return n_tokens % size
        case _:
            return n_tokens


def _cache_elements(config: MASFormerConfig, n_tokens: int) -> int:
    kept = sum(_kept(_span(config, layer), n_tokens) for layer in range(config.n_layers))
    return 2 * config.d_model * kept


TINY = MASFormerConfig(
    n_layers=3, n_heads=4, d_model=32, d_mlp=56, d_vocab=101, n_ctx=48,
    spans=("full", "block:4", "window:3"),
)  # fmt: skip
TINY_INTERLEAVED = MASFormerConfig(
    n_layers=4, n_heads=3, d_model=24, d_mlp=40, d_vocab=101, n_ctx=48,
    spans=("window:4", "full", "block:5", "full"),
)  # fmt: skip
BENCH = MASFormerConfig(
    n_layers=6, n_heads=8, d_model=256, d_mlp=1024, d_vocab=1138, n_ctx=512,
    spans=("full", "full", "block:64", "window:64", "block:64", "window:64"),
)  # fmt: skip

SPEC = VariantSpec(
    name="masformer",
    config=MASFormerConfig,
    build=MASFormer,
    presets={"tiny": TINY, "tiny-interleaved": TINY_INTERLEAVED, "bench": BENCH},
    cache_elements=_cache_elements,
    title="MASFormer",
    paper="Zhang et al. 2023, arXiv 2310.12442",
    inspections=("attention_span",),
)
