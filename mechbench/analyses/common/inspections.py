"""Analyses that look at what only some architectures have."""

from collections.abc import Sequence

from mechbench.errors import UnsupportedHookError
from mechbench.models.registry import VARIANTS


def require_inspection(model, analysis: str, names: Sequence[str]) -> None:
    """Raises UnsupportedHookError where the model lacks hook points that an analysis looks at.

    The message names the architectures that have them.
    """
    missing = [name for name in names if name not in model.hook_dict]
    if missing:
        raise cannot_inspect(model, analysis, f"hook point {missing[0]!r}")


def cannot_inspect(model, analysis: str, lacking: str) -> UnsupportedHookError:
    """The refusal of a model that has no ``lacking``; it names the architectures that do."""
    able = [spec.name for spec in VARIANTS if analysis in spec.inspections]
    return UnsupportedHookError(
        f"{model.cfg.model_name!r} has no {lacking}, so {analysis} has nothing to look at. Use a "
        f"model of one of these architectures: {', '.join(able)}."
    )
