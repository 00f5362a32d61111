"""Patchscopes: states of one model's run, read by what a model makes of them in another prompt.

    states_at(model, rows, positions, layers)      block outputs, [source_layer prompt d_model]
    decode_states(model, states, target)           what follows the target prompt when its state is
                                                   one of these, for every pair of layers

Source and target may be different models: a mapping between their residual spaces stands between.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mechbench.errors import TaskError, UnsupportedHookError
from mechbench.interventions.patched_generation import generate_patched
from mechbench.interventions.receipts import Fired, Receipt
from mechbench.interventions.state_patches import StatePatch

Progress = Callable[[int, int], None]
Mapping = Tensor | Callable[[Tensor], Tensor]
"""A matrix ``[d_source d_target]``, or a function of states ``[... d_source]``."""

_ROWS_AT_ONCE = 64


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where states are written.

    Attributes:
        prompts: ids ``[pos]`` of one prompt for all states, or of one per source prompt.
        positions: where in each of them the state is overwritten.
        layers: whose output is overwritten, each in turn.
    """

    prompts: Sequence[Int[Tensor, " pos"]]
    positions: Sequence[int]
    layers: Sequence[int]

    def rows(self, n: int) -> list[Tensor]:
        """The prompts of ``n`` continuations, whose last axis is the source prompt."""
        return list(self.prompts) * (n // len(self.prompts))


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """What ``decode_states`` returns.

    Attributes:
        tokens: new tokens ``[sample source_layer target_layer prompt new]``; one sample for each
            seed, or the greedy one alone. -1 stands behind an end of text.
        receipt: what was written where.
    """

    tokens: Int[Tensor, "sample source_layer target_layer prompt new"]
    receipt: Receipt


@torch.inference_mode()
def states_at(
    model,
    rows: Sequence[Int[Tensor, " pos"]],
    positions: Sequence[int],
    layers: Sequence[int],
    *,
    site: str = "hook_resid_post",
) -> Float[Tensor, "layer prompt d_model"]:
    """Outputs of blocks, or of a part of them, at one position of each prompt, on the CPU.

    Prompts of one length run together, so nothing is padded. ``site`` is a hook point of each block
    with the axes of the residual stream.

    Raises:
        UnsupportedHookError: a layer that the model does not have.
        TaskError: a position outside its prompt.
    """
    check_layers(model, layers)
    _check_positions(rows, positions)
    out = torch.empty(len(layers), len(rows), model.cfg.d_model, dtype=model.cfg.dtype)
    names = {f"blocks.{layer}.{site}": i for i, layer in enumerate(layers)}
    lengths: defaultdict[int, list[int]] = defaultdict(list)
    for i, row in enumerate(rows):
        lengths[len(row)].append(i)
    for members in lengths.values():
        for start in range(0, len(members), _ROWS_AT_ONCE):
            chunk = members[start : start + _ROWS_AT_ONCE]
            at = torch.tensor([positions[i] for i in chunk])

            def keep(resid: Tensor, hook, chunk=chunk, at=at) -> None:
                picked = resid[torch.arange(len(chunk)), at.to(resid.device)]
                out[names[hook.name], chunk] = picked.to(out)

            batch = torch.stack([rows[i] for i in chunk]).to(model.cfg.device)
            hooks = [(name, keep) for name in names]
            model.run_with_hooks(batch, return_type=None, fwd_hooks=hooks)
    return out


@torch.inference_mode()
def decode_states(
    model,
    states: Float[Tensor, "source_layer prompt d_source"],
    target: Target,
    *,
    mapping: Mapping | None = None,
    seeds: Sequence[int] = (),
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    max_new_tokens: int = 10,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
) -> Decoded:
    """What ``model`` says after the target prompt, for every state and every target layer.

    All pairs run side by side: a state is written when its target block finishes, while the prompt
    is processed, and later steps are left alone.

    Args:
        mapping: from the source's residual space to the model's; None where they are one.
        seeds: one sample each; none means greedy continuation.
        temperature, top_k, top_p: of samples, see ``Sampling``.
        progress: called with (continuations done, continuations in all).
        checkpoint: a folder that keeps finished continuations.

    Raises:
        TaskError: states of another width than the model's without a mapping, targets that are
            neither one nor one per prompt, a position outside its prompt, a prompt too long.
        UnsupportedHookError: a layer that the model does not have.

    Source: Ghandeharioun et al. 2024, "Patchscopes".
    """
    n_source, n_prompts, _ = states.shape
    check_layers(model, target.layers)
    _check_positions(target.prompts, target.positions)
    if len(target.prompts) not in (1, n_prompts):
        raise TaskError(
            f"{len(target.prompts)} target prompts for {n_prompts} states of each layer: give one, "
            "or one for each."
        )
    mapped = _mapped(states.flatten(0, 1).to(model.cfg.dtype), mapping)
    places = [i % len(target.prompts) for i in range(n_prompts)]
    patches = [
        StatePatch(places[i], layer, int(target.positions[places[i]]), source * n_prompts + i)
        for source in range(n_source)
        for layer in target.layers
        for i in range(n_prompts)
    ]
    runs = [(f"seed-{seed}", {"temperature": temperature, "seed": seed}) for seed in seeds]
    cuts = {"top_k": top_k, "top_p": top_p} if seeds else {}
    found = []
    for number, (name, options) in enumerate(runs or [("greedy", {})]):
        found.append(
            generate_patched(
                model,
                target.prompts,
                mapped,
                patches,
                max_new_tokens=max_new_tokens,
                progress=_shifted(progress, number, max(len(runs), 1)),
                checkpoint=None if checkpoint is None else checkpoint / f"{name}.chunks",
                **options,
                **cuts,
            )
        )
    tokens = torch.stack([each.tokens for each in found])
    shape = (n_source, len(target.layers), n_prompts)
    return Decoded(
        tokens=tokens.unflatten(1, shape),
        receipt=Receipt(
            method=found[0].method,
            n_cells=len(patches) * len(found),
            fired=_fired(model, mapped.unflatten(0, (n_source, n_prompts)), target),
            tokens=tuple(target.prompts[0].tolist()),
            n_chunks=sum(each.n_chunks for each in found),
        ),
    )


def check_layers(model, layers: Sequence[int]) -> None:
    """Raises UnsupportedHookError where a model does not have one of these blocks."""
    n_layers = model.cfg.n_layers
    wrong = [layer for layer in layers if not 0 <= layer < n_layers]
    if wrong or not layers:
        raise UnsupportedHookError(
            f"Layers {wrong or list(layers)} are out of range: {model.cfg.model_name!r} has "
            f"{n_layers} blocks, so give some of 0 to {n_layers - 1}."
        )


def _check_positions(rows: Sequence[Tensor], positions: Sequence[int]) -> None:
    if len(rows) != len(positions) or not len(rows):
        raise TaskError(f"{len(positions)} positions for {len(rows)} prompts: give one for each.")
    for i, (row, position) in enumerate(zip(rows, positions, strict=True)):
        if not 0 <= position < len(row):
            raise TaskError(
                f"Position {int(position)} is outside prompt {i}, which has {len(row)} tokens, "
                "counted from 0."
            )


def _mapped(states: Tensor, mapping: Mapping | None) -> Tensor:
    if mapping is None:
        return states
    if not isinstance(mapping, Tensor):
        return mapping(states)
    if mapping.dim() != 2 or mapping.shape[0] != states.shape[-1]:
        raise TaskError(
            f"A mapping of shape {tuple(mapping.shape)} does not take states of width "
            f"{states.shape[-1]}: give [{states.shape[-1]}, d_model of the target]."
        )
    return states @ mapping.to(states)


def _shifted(progress: Progress | None, number: int, n: int) -> Progress | None:
    """Progress of one of ``n`` equal calls as that of all."""
    if progress is None:
        return None
    return lambda done, of: progress(number * of + done, n * of)


def _fired(model, states: Tensor, target: Target) -> tuple[Fired, ...]:
    """How far the target prompts' own states are from what was written there."""
    base = states_at(model, target.prompts, target.positions, target.layers)
    changes = (states[:, None].cpu() - base[None]).double().pow(2).sum(-1)
    n_states = changes.shape[0] * changes.shape[2]
    return tuple(
        Fired(f"blocks.{layer}.hook_resid_post", n_states, float(changes[:, i].mean().sqrt()))
        for i, layer in enumerate(target.layers)
    )
