"""Subset self-attention (Hussain et al. 2023): GPT-2 trained on sub-models of itself.

A step of training draws, in every layer, which sources may be attended to, so that the model is an
ensemble of its information pathways. It is used dense, or as a sub-model (``sampled``), or as an
average of several (``ensemble_logits``). The paper ends training with dense steps; a loss does not
know its step, so here a share of the steps, drawn, is dense all along. Unconfirmed: the paper's
sampling rates; 0.3 left out is the default of the same author's later code.
"""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mechbench.errors import SpecError
from mechbench.models.components.block import gelu_block
from mechbench.models.components.norm import LayerNorm
from mechbench.models.config_checks import require_equal_heads
from mechbench.models.contract import Capabilities, hook_config
from mechbench.models.decoder import Decoder, initialise
from mechbench.models.pathways import check_sampling, ensemble_logits, sampled
from mechbench.models.spec import VariantSpec


@dataclass(frozen=True, kw_only=True)
class SSAConfig:
    """What varies between models that are trained on pathways.

    Attributes:
        form: of sampling in training: ``unbiased``, ``local`` or ``bernoulli``.
        kept: share of the sources that training draws.
        sigma: noise of the local form, in blocks.
        dense_share: how often a training step is dense.
        tied: the unembedding is the transposed embedding.

    Raises:
        SpecError: a form or a number that means nothing, or a ``d_model`` that does not divide
            into heads.
    """

    n_layers: int
    n_heads: int
    d_model: int
    d_mlp: int
    d_vocab: int
    n_ctx: int
    form: str = "unbiased"
    kept: float = 0.7
    sigma: float = 0.5
    dense_share: float = 0.1
    layer_norm_eps: float = 1e-5
    tied: bool = True

    def __post_init__(self) -> None:
        check_sampling(self.form, self.kept, self.sigma)
        if not 0 <= self.dense_share <= 1:
            raise SpecError(f"dense_share = {self.dense_share} must be a share of the steps.")
        require_equal_heads(self)

    @property
    def d_head(self) -> int:
        return self.d_model // self.n_heads


class SSA(Decoder):
    """A dense GPT-2 that is trained on its pathways. See ``HookedModel`` for what it offers."""

    def __init__(self, config: SSAConfig, model_name: str = "ssa"):
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

    @contextmanager
    def sampled(
        self,
        *,
        seed: int,
        kept: float | None = None,
        form: str | None = None,
        sigma: float | None = None,
        layers: Collection[int] | None = None,
    ) -> Iterator["SSA"]:
        """The model as one of its sub-models; see ``mechbench.models.pathways.sampled``.

        What is None is as in training.
        """
        with sampled(self, seed=seed, layers=layers, **self._training(kept, form, sigma)):
            yield self

    def ensemble_logits(
        self,
        tokens: Int[Tensor, "batch pos"],
        n: int,
        *,
        seed: int,
        kept: float | None = None,
        form: str | None = None,
        sigma: float | None = None,
    ) -> Float[Tensor, "batch pos d_vocab"]:
        """Logarithm of the mean probability of ``n`` sub-models; what is None is as in training."""
        return ensemble_logits(self, tokens, n, seed=seed, **self._training(kept, form, sigma))

    def training_loss(
        self,
        tokens: Int[Tensor, "batch pos"],
        generator: torch.Generator,
        scored: Bool[Tensor, "batch pos"] | None = None,
    ) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """Next-token cross-entropy of a sub-model drawn anew, or now and then of the whole."""
        dense = torch.rand((), generator=generator).item() < self.config.dense_share
        seed = int(torch.randint(2**62, (), generator=generator).item())
        if dense:
            return self.next_token_loss(tokens, scored), {}
        with self.sampled(seed=seed):
            return self.next_token_loss(tokens, scored), {}

    def _training(self, kept: float | None, form: str | None, sigma: float | None) -> dict:
        cfg = self.config
        return {
            "kept": cfg.kept if kept is None else kept,
            "form": cfg.form if form is None else form,
            "sigma": cfg.sigma if sigma is None else sigma,
        }


TINY = SSAConfig(n_layers=3, n_heads=4, d_model=32, d_mlp=56, d_vocab=101, n_ctx=48, kept=0.5)
BENCH = SSAConfig(
    n_layers=6, n_heads=8, d_model=256, d_mlp=1024, d_vocab=1138, n_ctx=512
)  # fmt: skip

SPEC = VariantSpec(
    name="ssa",
    config=SSAConfig,
    build=SSA,
    presets={"tiny": TINY, "bench": BENCH},
    cache_elements=lambda cfg, n_tokens: 2 * cfg.n_layers * cfg.d_model * n_tokens,
    title="Subset self-attention",
    paper="Hussain et al. 2023, arXiv 2306.01705",
    inspections=("pathways",),
)
