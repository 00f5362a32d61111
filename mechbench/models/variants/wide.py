"""Wide attention (Brown et al. 2022): the same number of heads in fewer, wider layers.

Otherwise GPT-2. The width of a head is fixed, so the inner width of a layer's attention,
``n_heads * d_head``, may exceed ``d_model``. The paper trains text classifiers; as a language model
this is an extrapolation. One causal layer cannot form the two-step induction circuit. Unconfirmed:
the head totals of the paper's tasks (recalled: 48), so presets keep 24.
"""

from dataclasses import dataclass, replace

from mechbench.errors import SpecError
from mechbench.models.components.block import gelu_block
from mechbench.models.components.norm import LayerNorm
from mechbench.models.config_checks import require_positive
from mechbench.models.contract import Capabilities, hook_config
from mechbench.models.decoder import Decoder, initialise
from mechbench.models.spec import VariantSpec


@dataclass(frozen=True, kw_only=True)
class WideConfig:
    """What varies between models of one number of heads.

    Attributes:
        n_heads: of each layer; what is compared keeps ``n_layers * n_heads`` and ``d_head``.
        tied: the unembedding is the transposed embedding.

    Raises:
        SpecError: a size below 1.
    """

    n_layers: int
    n_heads: int
    d_model: int
    d_head: int
    d_mlp: int
    d_vocab: int
    n_ctx: int
    layer_norm_eps: float = 1e-5
    tied: bool = True

    def __post_init__(self) -> None:
        require_positive(
            self, ("n_layers", "n_heads", "d_model", "d_head", "d_mlp", "d_vocab", "n_ctx")
        )


class Wide(Decoder):
    """A GPT-2 of free aspect ratio. See ``HookedModel`` for what it offers."""

    def __init__(self, config: WideConfig, model_name: str = "wide"):
        cfg = config
        super().__init__(
            cfg,
            blocks=(
                gelu_block(
                    cfg.d_model, cfg.n_heads, cfg.d_head, cfg.d_mlp, norm_eps=cfg.layer_norm_eps
                )
                for _ in range(cfg.n_layers)
            ),
            ln_final=LayerNorm(cfg.d_model, cfg.layer_norm_eps),
            learned_positions=True,
            tied=cfg.tied,
        )
        initialise(self)
        self.finish(
            hook_config(cfg, model_name, act_fn="gelu_new", normalization_type="LN"),
            Capabilities(),
        )


def at_aspect(config: WideConfig, n_layers: int, *, same_mlp: bool = True) -> WideConfig:
    """The config with all its heads in ``n_layers`` layers.

    Args:
        same_mlp: each layer keeps ``d_mlp``, as in the paper, so that fewer layers are a smaller
            model; otherwise the MLPs' total width stays, so that size and depth are told apart.

    Raises:
        SpecError: the heads, or the MLPs' width, do not divide into so many layers.
    """
    heads, width = config.n_layers * config.n_heads, config.n_layers * config.d_mlp
    if n_layers < 1 or heads % n_layers or (not same_mlp and width % n_layers):
        raise SpecError(
            f"{heads} heads and MLPs of {width} neurons in all do not divide into {n_layers} "
            "layers: give a number of layers that divides them."
        )
    d_mlp = config.d_mlp if same_mlp else width // n_layers
    return replace(config, n_layers=n_layers, n_heads=heads // n_layers, d_mlp=d_mlp)


def n_weights(config: WideConfig) -> int:
    """Parameters of all matrices in blocks: ``4 D d_h (H L) + L 2 D F``; biases and norms aside."""
    heads = config.n_layers * config.n_heads
    attention = 4 * config.d_model * config.d_head * heads
    return attention + config.n_layers * 2 * config.d_model * config.d_mlp


DEEP = WideConfig(
    n_layers=6, n_heads=4, d_model=128, d_head=16, d_mlp=256, d_vocab=256, n_ctx=256
)  # fmt: skip
TINY = WideConfig(
    n_layers=2, n_heads=6, d_model=28, d_head=10, d_mlp=40, d_vocab=101, n_ctx=48
)  # fmt: skip
BENCH = WideConfig(
    n_layers=1, n_heads=48, d_model=256, d_head=32, d_mlp=1024, d_vocab=1138, n_ctx=512
)  # fmt: skip

SPEC = VariantSpec(
    name="wide-attention",
    config=WideConfig,
    build=Wide,
    presets={
        "tiny": TINY,
        "tiny-one-layer": at_aspect(TINY, 1),
        "6x4": DEEP,
        "3x8": at_aspect(DEEP, 3),
        "2x12": at_aspect(DEEP, 2),
        "1x24": at_aspect(DEEP, 1),
        "1x24-same-size": at_aspect(DEEP, 1, same_mlp=False),
        "bench": BENCH,
    },
    cache_elements=lambda cfg, n: 2 * cfg.n_layers * cfg.n_heads * cfg.d_head * n,
    title="Wide attention",
    paper="Brown et al. 2022, arXiv 2210.00640",
)
