"""Continuing prompts, with a key-value cache and with hooks of a stated scope."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformer_lens.hook_points import HookPoint

from mechbench.errors import TaskError
from mechbench.models.base import HookedModel, check_finite
from mechbench.models.hooks import firing_names
from mechbench.models.sampling import Draws, Sampling, choose

_SQUARE = ("hook_attn_scores", "hook_pattern", "hook_decay_mask", "hook_retention")
"""Ends of the names of hook points whose last axes are query and key."""

Hooks = Sequence[tuple[str | Callable[[str], bool], Callable]]


@dataclass(frozen=True, kw_only=True)
class Generation:
    """Continued prompts, in the order in which they were given.

    Attributes:
        tokens: per prompt the ids of prompt and continuation; an end-of-text token that ended it
            is the last one.
        prompt_lengths: how many of them are the prompt, BOS included.
        texts: prompt and continuation without special tokens; None without a tokenizer.
        completions: the continuations alone.
        seed: gives the same samples again.
    """

    tokens: tuple[Tensor, ...]
    prompt_lengths: tuple[int, ...]
    texts: tuple[str, ...] | None
    completions: tuple[str, ...] | None
    seed: int


@torch.no_grad()
def generate(
    model: HookedModel,
    prompts: str | Sequence[str] | Int[Tensor, "batch pos"] | Int[Tensor, " pos"],
    *,
    max_new_tokens: int = 20,
    temperature: float = 0.0,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int | None = None,
    stop_at_eos: bool = True,
    prepend_bos: bool | None = None,
    fwd_hooks: Hooks = (),
    hook_scope: str = "prompt",
    use_cache: bool = True,
) -> Generation:
    """The prompts continued by up to ``max_new_tokens`` tokens each.

    Prompts of one length run as one batch, and different lengths run one after another: there is
    no padding, so each prompt gets exactly what it gets alone.

    Hooks fire once on the prompt. Under ``"prompt"`` they are then removed, and their effect lives
    on in the remembered keys and values. Under ``"every_step"`` they fire again for each new token,
    on a tensor with that one position (``hook_pattern``: one query). They see the batch of one
    prompt length at a time.

    Args:
        prompts: text (BOS is put before it as in ``to_tokens``), texts, or ids.
        temperature, top_k, top_p: see ``Sampling``; temperature 0 is greedy.
        seed: of the samples. A prompt's samples do not depend on the other prompts; equal
            prompts get different ones. None draws a seed from torch.
        stop_at_eos: end a continuation after the tokenizer's end-of-text token.
        use_cache: False runs all positions at every step, and hooks see what they would see with
            the cache: the slow reference. Models that are not incremental always do.

    Raises:
        TaskError: an empty prompt, a prompt that does not fit the context together with its
            continuation, or options that mean nothing; all before the model runs.
        HookNameError: a hook name that matches nothing.
        NumericsError: NaN or infinite logits.
    """
    sampling = Sampling(temperature=temperature, top_k=top_k, top_p=top_p)
    sampling.check()
    if hook_scope not in ("prompt", "every_step"):
        raise TaskError(f"hook_scope={hook_scope!r} is not known: use 'prompt' or 'every_step'.")
    rows = _prompt_ids(model, prompts, prepend_bos)
    _check_lengths(model, rows, max_new_tokens)
    for name, _ in fwd_hooks:
        firing_names(name, model.hook_dict, model.cfg)
    seed = int(torch.randint(2**62, ()).item()) if seed is None else seed
    draws = Draws(seed, rows)
    eos = model.tokenizer.eos_token_id if stop_at_eos and model.tokenizer is not None else None
    cached = use_cache and model.capabilities.incremental
    run_type = Remembering if cached else Recomputing
    tokens: dict[int, Tensor] = {}
    for indices in _by_length(rows):
        batch = torch.tensor([rows[i] for i in indices], device=model.cfg.device)
        run = run_type(model, fwd_hooks, hook_scope)
        chosen = partial(choose, sampling=sampling, draws=draws, rows=indices)
        continued = _continue(run, batch, max_new_tokens, chosen, eos)
        tokens.update(zip(indices, continued, strict=True))
    in_order = tuple(tokens[i] for i in range(len(rows)))
    lengths = tuple(len(row) for row in rows)
    texts, completions = _texts(model.tokenizer, in_order, lengths)
    return Generation(
        tokens=in_order, prompt_lengths=lengths, texts=texts, completions=completions, seed=seed
    )


class Remembering:
    """Logits after each new token, from remembered keys and values."""

    def __init__(self, model: HookedModel, hooks: Hooks, scope: str):
        self.model, self.hooks, self.scope = model, hooks, scope
        self.memories = model.new_memories()

    def __call__(self, new: Int[Tensor, "batch pos"]) -> Float[Tensor, "batch vocab"]:
        model, memories = self.model, self.memories
        first = memories[0].length == 0
        if self.hooks and (first or self.scope == "every_step"):
            with model.hooks(self.hooks):
                return model(new, memories=memories)[:, -1]
        return model.next_token_logits(new, memories)


class Recomputing:
    """The same logits from all positions at every step."""

    def __init__(self, model: HookedModel, hooks: Hooks, scope: str):
        self.model, self.hooks, self.scope = model, hooks, scope
        self.pieces: list[Tensor] = []

    def __call__(self, new: Int[Tensor, "batch pos"]) -> Float[Tensor, "batch vocab"]:
        self.pieces.append(new)
        tokens = torch.cat(self.pieces, dim=1)
        if not self.hooks:
            return self.model(tokens)[:, -1]
        hooked = self.pieces[:1] if self.scope == "prompt" else self.pieces
        ends = list(accumulate(piece.shape[1] for piece in hooked))
        spans = list(zip([0, *ends], ends, strict=False))
        with self.model.hooks([(name, _on_spans(fn, spans)) for name, fn in self.hooks]):
            return self.model(tokens)[:, -1]


def _on_spans(fn: Callable, spans: Sequence[tuple[int, int]]) -> Callable:
    """A hook that shows ``fn`` one span of positions at a time, as the cache would."""

    def apply(tensor: Tensor, hook: HookPoint) -> Tensor:
        out = tensor.clone()
        for start, stop in spans:
            if str(hook.name).endswith(_SQUARE):
                part = out[:, :, start:stop, :stop]  # queries of the span, keys up to its end
            else:
                part = out[:, start:stop]
            changed = fn(part, hook=hook)
            if changed is not None:
                part.copy_(changed)
        return out

    return apply


def _continue(
    run: Remembering | Recomputing,
    batch: Tensor,
    max_new_tokens: int,
    choose_next: Callable[[Tensor], Tensor],
    eos: int | None,
) -> list[Tensor]:
    """Ids of each row of one prompt length, each cut after its end-of-text token."""
    whole = new = batch
    lengths = torch.full((len(batch),), batch.shape[1] + max_new_tokens)
    ended = torch.zeros(len(batch), dtype=torch.bool)
    for _ in range(max_new_tokens):
        logits = run(new)
        check_finite(logits, run.model.cfg.model_name)
        new = choose_next(logits)[:, None]
        whole = torch.cat([whole, new], dim=1)
        if eos is not None:
            ends_now = (new[:, 0].cpu() == eos) & ~ended
            lengths[ends_now] = whole.shape[1]
            ended |= ends_now
            if ended.all():
                break
    return [row[:length] for row, length in zip(whole, lengths.tolist(), strict=True)]


def _prompt_ids(model: HookedModel, prompts: Any, prepend_bos: bool | None) -> list[list[int]]:
    if isinstance(prompts, Tensor):
        return torch.atleast_2d(prompts).tolist()
    texts = [prompts] if isinstance(prompts, str) else prompts
    return [model.to_tokens(text, prepend_bos)[0].tolist() for text in texts]


def _check_lengths(model: HookedModel, rows: list[list[int]], max_new_tokens: int) -> None:
    if max_new_tokens < 1:
        raise TaskError(f"max_new_tokens={max_new_tokens} must be 1 or more.")
    if not rows or not all(rows):
        raise TaskError("There is nothing to continue: every prompt needs at least one token.")
    longest = max(len(row) for row in rows)
    if longest + max_new_tokens > model.cfg.n_ctx:
        raise TaskError(
            f"A prompt of {longest} tokens and {max_new_tokens} new ones do not fit the context of "
            f"{model.cfg.model_name!r}, {model.cfg.n_ctx} tokens. Shorten the prompt or ask for at "
            f"most {max(model.cfg.n_ctx - longest, 0)} new tokens."
        )


def _by_length(rows: list[list[int]]) -> list[list[int]]:
    groups: defaultdict[int, list[int]] = defaultdict(list)
    for i, row in enumerate(rows):
        groups[len(row)].append(i)
    return list(groups.values())


def _texts(
    tokenizer: Any, tokens: Sequence[Tensor], lengths: Sequence[int]
) -> tuple[tuple[str, ...], tuple[str, ...]] | tuple[None, None]:
    if tokenizer is None:
        return None, None
    texts, completions = [], []
    for ids, length in zip(tokens, lengths, strict=True):
        text = tokenizer.decode(ids.tolist(), skip_special_tokens=True)
        prompt = tokenizer.decode(ids[:length].tolist(), skip_special_tokens=True)
        texts.append(text)
        # a piece decoded by itself can lose the space before it, so the prompt is cut off instead
        completions.append(text[len(prompt) :])
    return tuple(texts), tuple(completions)
