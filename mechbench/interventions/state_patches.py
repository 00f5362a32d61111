"""Which state of a prompt's residual stream is overwritten, and with what."""

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from mechbench.errors import TaskError, UnsupportedHookError


class StatePatch(NamedTuple):
    """One continuation: which prompt, and what is overwritten with which state.

    Attributes:
        prompt: index of the prompt that is continued.
        layer: block whose output is overwritten, from 0; the embedding is not a target.
        position: where in the prompt, from 0.
        state: index of the vector that is written.
    """

    prompt: int
    layer: int
    position: int
    state: int


def check_state_patches(
    model,
    prompts: Sequence[Tensor],
    states: Tensor,
    patches: Sequence[StatePatch],
    max_new_tokens: int,
) -> None:
    """Raises TaskError or UnsupportedHookError where these cannot be continued."""
    if max_new_tokens < 1:
        raise TaskError(f"max_new_tokens={max_new_tokens} must be 1 or more.")
    if not patches:
        raise TaskError("No patches were given: name at least one.")
    if states.dim() != 2 or states.shape[1] != model.cfg.d_model:
        raise TaskError(
            f"States of shape {tuple(states.shape)} cannot be written into "
            f"{model.cfg.model_name!r}: give [state, {model.cfg.d_model}]. A state of a model of "
            "another width needs a mapping first."
        )
    for prompt in prompts:
        if len(prompt) == 0:
            raise TaskError("There is nothing to continue: every prompt needs at least one token.")
        model.check_length(len(prompt) + max_new_tokens - 1)
    n_layers = model.cfg.n_layers
    for patch in patches:
        if not 0 <= patch.prompt < len(prompts) or not 0 <= patch.state < len(states):
            raise TaskError(
                f"{patch} is out of range: there are {len(prompts)} prompts and {len(states)} "
                "states, counted from 0."
            )
        if not 0 <= patch.layer < n_layers:
            raise UnsupportedHookError(
                f"Layer {patch.layer} is out of range: {model.cfg.model_name!r} has {n_layers} "
                f"blocks, so outputs of block 0 to {n_layers - 1} can be overwritten."
            )
        if not 0 <= patch.position < len(prompts[patch.prompt]):
            raise TaskError(
                f"Position {patch.position} is outside prompt {patch.prompt}, which has "
                f"{len(prompts[patch.prompt])} tokens, counted from 0."
            )
