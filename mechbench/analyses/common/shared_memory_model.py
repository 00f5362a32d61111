"""What the analyses of retention and of a shared memory ask of a model."""

from collections.abc import Callable

from torch import Tensor

from mechbench.analyses.common.inspections import cannot_inspect
from mechbench.tasks.metrics import Metric


def retention_layers(model) -> list[int]:
    """The layers of a model that decay what they retain.

    Raises:
        UnsupportedHookError: it has none.
    """
    layers = _layers_with(model, "attn.hook_log_decay")
    if not layers:
        raise cannot_inspect(model, "retention_decay", "retention")
    return layers


def memory_layers(model) -> list[int]:
    """The layers of a model that read the shared keys and values.

    Raises:
        UnsupportedHookError: nothing is shared.
    """
    if "yoco.hook_shared_k" not in model.hook_dict:
        raise cannot_inspect(model, "shared_memory", "memory that layers share")
    return list(model.cross_layers)


def metric_of(model, metric: Metric, tokens: Tensor) -> Tensor:
    """The metric ``[prompt answer]`` of a run on ``tokens``, under whatever hooks are there now."""
    return metric(model.answer_logits(tokens, metric.positions, metric.vocab)).double().cpu()


def write(value: Callable[[Tensor], Tensor] | Tensor) -> Callable:
    """A hook that puts ``value``, or what it makes of the activation, in its place."""
    return lambda current, hook: value if isinstance(value, Tensor) else value(current)


def _layers_with(model, end: str) -> list[int]:
    return [i for i in range(model.cfg.n_layers) if f"blocks.{i}.{end}" in model.hook_dict]
