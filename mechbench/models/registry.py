"""Every architecture that mechbench re-implements: one line each."""

from mechbench.errors import ModelNotFoundError, did_you_mean
from mechbench.models.base import HookedModel
from mechbench.models.spec import VariantSpec
from mechbench.models.variants import (
    deepseek_v2,
    gpt2,
    llama,
    looped,
    lory,
    masformer,
    matformer,
    mod,
    plain,
    primer,
    ssa,
    wide,
    yoco,
)

VARIANTS: tuple[VariantSpec, ...] = (
    gpt2.SPEC,
    llama.SPEC,
    looped.SPEC,
    deepseek_v2.SPEC,
    lory.SPEC,
    masformer.SPEC,
    matformer.SPEC,
    mod.SPEC,
    primer.SPEC,
    ssa.SPEC,
    wide.SPEC,
    yoco.SPEC,
    plain.SPEC,
)


def variant(name: str) -> VariantSpec:
    """The spec of an architecture.

    Raises:
        ModelNotFoundError: no such architecture; the nearest names are listed.
    """
    for spec in VARIANTS:
        if spec.name == name:
            return spec
    known = [spec.name for spec in VARIANTS]
    raise ModelNotFoundError(f"No architecture is called {name!r}. {did_you_mean(name, known)}")


def spec_of(model: HookedModel) -> VariantSpec | None:
    """The spec of a model's architecture; None for a model that mechbench only wraps."""
    for spec in VARIANTS:
        if isinstance(model.config, spec.config):
            return spec
    return None
