"""Looped transformer: GPT-2 whose blocks are run several times in turn, with the same weights.

After Universal Transformers (Dehghani et al. 2018, arXiv 1807.03819), which run one block many
times. Here a loop is of several blocks, as in later work; positions are embedded once, at the
input, not again with the loop's number before each; every position runs all loops, without a rule
to halt; and blocks are GPT-2's (the norm before each part, an MLP, decoder only).

A layer is one use of a block: layer ``l`` runs the weights of block ``l % n_blocks``, and has hook
points of its own. An edit of the weights of one layer is an edit of all that share them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from mechbench.errors import CheckpointError
from mechbench.models.components.block import TransformerBlock, gelu_block
from mechbench.models.components.norm import LayerNorm
from mechbench.models.config_checks import require_equal_heads, require_positive
from mechbench.models.contract import Capabilities, hook_config
from mechbench.models.decoder import Decoder, initialise
from mechbench.models.spec import VariantSpec


@dataclass(frozen=True, kw_only=True)
class LoopedConfig:
    """What varies between looped models.

    Attributes:
        n_blocks: sets of weights, run one after another.
        n_loops: how often that is done; 1 is a GPT-2.
        tied: the unembedding is the transposed embedding.

    Raises:
        SpecError: a size below 1, or a width that does not divide into heads.
    """

    n_blocks: int
    n_loops: int
    n_heads: int
    d_model: int
    d_mlp: int
    d_vocab: int
    n_ctx: int
    layer_norm_eps: float = 1e-5
    tied: bool = True

    def __post_init__(self) -> None:
        require_positive(
            self, ("n_blocks", "n_loops", "n_heads", "d_model", "d_mlp", "d_vocab", "n_ctx")
        )
        require_equal_heads(self)

    @property
    def n_layers(self) -> int:
        return self.n_blocks * self.n_loops

    @property
    def d_head(self) -> int:
        return self.d_model // self.n_heads


class Looped(Decoder):
    """A GPT-2 with shared layers. See ``HookedModel`` for what it offers.

    Its state dict and its parameters hold each weight once, under the name of the first layer that
    has it.
    """

    def __init__(self, config: LoopedConfig, model_name: str = "looped"):
        super().__init__(
            config,
            blocks=(_block(config) for _ in range(config.n_layers)),
            ln_final=LayerNorm(config.d_model, config.layer_norm_eps),
            learned_positions=True,
            tied=config.tied,
        )
        self._share()
        initialise(self)
        self.finish(
            hook_config(config, model_name, act_fn="gelu_new", normalization_type="LN"),
            Capabilities(),
        )

    def tl_parameters(self) -> dict[str, Tensor]:
        """All weights by TransformerLens name: a shared one under the name of every layer."""
        repeats = {again: self.get_parameter(first) for again, first in self._repeats().items()}
        return super().tl_parameters() | repeats

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Each weight once."""
        found = super().state_dict(*args, **kwargs)
        prefix = kwargs.get("prefix", "")
        for again in self._repeats():
            found.pop(prefix + again, None)
        return found

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """Takes what ``state_dict`` gives.

        Raises:
            CheckpointError: weights of a layer that shares those of another.
        """
        repeats = self._repeats()
        apart = sorted(state_dict.keys() & repeats.keys())
        if apart:
            raise CheckpointError(
                f"{self.cfg.model_name!r} shares {repeats[apart[0]]!r} with a later layer, and was "
                f"given {apart[0]!r} apart: give the weights of the first {self.config.n_blocks} "
                "layers alone."
            )
        shared = {a: state_dict[first] for a, first in repeats.items() if first in state_dict}
        result = super().load_state_dict({**state_dict, **shared}, strict, assign)
        self._share()
        return result

    def _apply(self, *args: Any, **kwargs: Any) -> "Looped":
        super()._apply(*args, **kwargs)
        self._share()  # a move to another device makes new parameters
        return self

    def _share(self) -> None:
        """Let later loops have the parameters of the first."""
        for again, first in self._repeats().items():
            owner, _, leaf = again.rpartition(".")
            setattr(self.get_submodule(owner), leaf, self.get_parameter(first))

    def _repeats(self) -> dict[str, str]:
        """Names of the parameters of later loops, and of the first loop's that they are."""
        n_blocks = self.config.n_blocks
        return {
            f"blocks.{layer}.{name}": f"blocks.{layer % n_blocks}.{name}"
            for layer in range(n_blocks, self.config.n_layers)
            for name, _ in self.blocks[layer].named_parameters()
        }


def _block(cfg: LoopedConfig) -> TransformerBlock:
    return gelu_block(cfg.d_model, cfg.n_heads, cfg.d_head, cfg.d_mlp, norm_eps=cfg.layer_norm_eps)


TINY = LoopedConfig(
    n_blocks=2, n_loops=2, n_heads=3, d_model=30, d_mlp=56, d_vocab=101, n_ctx=48
)  # fmt: skip
BENCH = LoopedConfig(
    n_blocks=3, n_loops=2, n_heads=8, d_model=256, d_mlp=1024, d_vocab=1138, n_ctx=512
)  # fmt: skip

SPEC = VariantSpec(
    name="looped",
    config=LoopedConfig,
    build=Looped,
    presets={"tiny": TINY, "bench": BENCH},
    cache_elements=lambda cfg, n: 2 * cfg.n_layers * cfg.d_model * n,
    title="Looped transformer",
    paper="Dehghani et al. 2018, arXiv 1807.03819",
)
