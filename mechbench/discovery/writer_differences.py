"""What writers add to the residual stream: the clean minus the corrupted run, stored natively.

Heads are stored as ``z`` of width d_head; ``W_O`` is applied when scores are formed.
"""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from mechbench.discovery.batches import Batch
from mechbench.errors import UnsupportedHookError
from mechbench.graphs.wiring import Wiring


@torch.no_grad()
def plain_run(
    model, batch: Batch, run: str, names: Iterable[str]
) -> tuple[dict[str, Tensor], Tensor]:
    """Activations by hook name, and the metric ``[prompt]``, of the clean or the corrupted run.

    Raises:
        NumericsError: NaN or infinite logits.
    """
    kept: dict[str, Tensor] = {}

    def keep(tensor: Tensor, hook) -> None:
        kept[hook.name] = tensor

    tokens = batch.pairs.clean if run == "clean" else batch.pairs.corrupt
    with model.hooks([(name, keep) for name in dict.fromkeys(names)]):
        logits = model.answer_logits(tokens, batch.positions(), batch.metric.vocab)
    return kept, batch.values(logits)[0]


def writer_names(wiring: Wiring) -> tuple[str, ...]:
    """The hook points of all writers."""
    return tuple(bank.hook_name for bank in wiring.writers)


def differences(
    clean: Mapping[str, Tensor], corrupt: Mapping[str, Tensor], wiring: Wiring
) -> dict[str, Tensor]:
    """Clean minus corrupted by hook name, ``[prompt pos (head) width]``."""
    return {name: clean[name] - corrupt[name] for name in writer_names(wiring)}


@torch.no_grad()
def require_additive(model, wiring: Wiring, batch: Batch) -> None:
    """Raises where the graph does not describe the model, measured on the prompts of ``batch``.

    For models that do not declare that their heads and MLPs add up: the differences of all writers
    must sum to that of the final residual stream, and what heads read must be their weights' image
    of the normalised stream, up to rounding (relative 1e-3, or 4 units of half precision).

    Raises:
        UnsupportedHookError: it names what does not add up.
    """
    if model.capabilities.additive_heads and model.capabilities.additive_mlp:
        return
    tolerance = max(1e-3, 4 * torch.finfo(model.cfg.dtype).eps)
    names = [*writer_names(wiring)]
    names += [
        name for bank in wiring.readers if bank.weight for name in (bank.stream, bank.projected)
    ]
    names.append(wiring.readers[-1].stream)
    clean, _ = plain_run(model, batch, "clean", names)
    corrupt, _ = plain_run(model, batch, "corrupt", names)
    final = wiring.readers[-1].stream
    written = differences(clean, corrupt, wiring)
    total = sum(bank.outputs(written[bank.hook_name]).sum(0) for bank in wiring.writers)
    _require_close(model, total, clean[final] - corrupt[final], "residual stream", tolerance)
    for bank in wiring.readers:
        if bank.weight is None:
            continue
        read = [
            bank.norm(run[bank.stream]) if bank.norm else run[bank.stream]
            for run in (clean, corrupt)
        ]
        made = torch.einsum("bpd,hdc->bphc", read[0] - read[1], bank.weight())
        found = clean[bank.projected] - corrupt[bank.projected]
        _require_close(model, made, found, bank.projected, tolerance)


def _require_close(model, made, found: Tensor, what: str, tolerance: float) -> None:
    error = float((made - found).norm() / found.norm().clamp_min(torch.finfo(found.dtype).tiny))
    if not error <= tolerance:
        raise UnsupportedHookError(
            f"The heads and MLPs of {model.cfg.model_name!r} do not add up to its {what} (relative "
            f"error {error:.2g}), so edges between them cannot be scored. Patch whole hook points "
            "with a sweep instead."
        )
