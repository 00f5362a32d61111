"""Many prompts of any lengths, each with hooks of its own, continued greedily side by side."""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mechbench.analyses.common.steps import Progress
from mechbench.errors import TaskError
from mechbench.interventions.generation_work import NOTHING, continued
from mechbench.interventions.kept_file import KeptFile
from mechbench.models.fingerprint import weight_fingerprint
from mechbench.models.generation import Hooks, Recomputing, Remembering

_POSITIONS_AT_ONCE = {"cpu": 4096, "cuda": 1 << 17}

HooksOf = Callable[[Sequence[int]], Hooks]
"""Hooks for the rows of these indices, which make up a batch in this order."""


@dataclass(frozen=True)
class RowRuns:
    """Attributes:
    tokens: the new tokens ``[row new]``; ``NOTHING`` behind an end of text.
    log_prob: of each row's target as the first new token, nats, ``[row]``.
    """

    tokens: Tensor
    log_prob: Tensor


@torch.inference_mode()
def run_rows(
    model,
    rows: Sequence[Tensor],
    targets: Sequence[int],
    *,
    n_new: int,
    hooks: HooksOf | None = None,
    about: str = "",
    progress: Progress | None = None,
    checkpoint: Path | None = None,
) -> RowRuns:
    """Each row ``[pos]`` continued greedily by up to ``n_new`` tokens, as if it ran by itself.

    Hooks act while the prompt is processed, on batches of rows of one length, and not on later
    steps. Their effect lives on in what is remembered.

    Args:
        targets: ids whose log-probability after the prompt is kept.
        about: what the hooks do, which tells one checkpoint from another.
        progress: called with (rows done, rows in all).
        checkpoint: a file that keeps finished rows, from which an equal call goes on.

    Raises:
        TaskError: a row that does not fit the context together with its continuation.
        StoreError: the checkpoint belongs to other work.
    """
    if n_new < 1:
        raise TaskError(f"max_new_tokens={n_new} must be 1 or more.")
    for row in rows:
        model.check_length(len(row) + n_new - 1)
    tokens = torch.full((len(rows), n_new), NOTHING)
    log_prob = torch.full((len(rows),), float("nan"), dtype=torch.float64)
    file = None if checkpoint is None else _kept(model, rows, targets, n_new, about, checkpoint)
    done = _restore(file, tokens, log_prob)
    for chunk in _chunks(model, rows, n_new, done):
        batch = torch.stack([rows[i] for i in chunk]).to(model.cfg.device)
        wanted = torch.tensor([targets[i] for i in chunk], device=model.cfg.device)
        run = _FirstLogits(model, hooks(chunk) if hooks else (), wanted)
        new = continued(run, batch, _likeliest, model=model, n_new=n_new, eos=_eos(model))
        tokens[chunk], log_prob[chunk] = new.cpu(), run.log_prob.double().cpu()
        done.update(chunk)
        if progress is not None:
            progress(len(done), len(rows))
        if file is not None and (file.due or len(done) == len(rows)):
            order = sorted(done)
            file.write(
                done=np.array(order, dtype=np.int64),
                tokens=tokens[order].numpy(),
                log_prob=log_prob[order].numpy(),
            )
    return RowRuns(tokens, log_prob)


class _FirstLogits:
    """A run that keeps the log-probability of each row's target after the prompt."""

    def __init__(self, model, hooks: Hooks, targets: Tensor):
        kind = Remembering if model.capabilities.incremental else Recomputing
        self._run, self._targets = kind(model, hooks, "prompt"), targets
        self.log_prob = torch.empty(0)

    def __call__(self, new: Tensor) -> Tensor:
        logits = self._run(new)
        if not len(self.log_prob):
            self.log_prob = logits.log_softmax(-1).gather(1, self._targets[:, None])[:, 0]
        return logits


def _likeliest(logits: Tensor) -> Tensor:
    return logits.argmax(-1)


def _eos(model) -> int | None:
    return None if model.tokenizer is None else model.tokenizer.eos_token_id


def _chunks(model, rows: Sequence[Tensor], n_new: int, done: set[int]) -> list[list[int]]:
    """The rows that are left, of one length each time, as many as fit well."""
    lengths: defaultdict[int, list[int]] = defaultdict(list)
    for i, row in enumerate(rows):
        if i not in done:
            lengths[len(row)].append(i)
    most = _POSITIONS_AT_ONCE.get(model.cfg.device.type, _POSITIONS_AT_ONCE["cpu"])
    chunks = []
    for length, members in lengths.items():
        size = max(1, most // (length + n_new))
        chunks += [members[a : a + size] for a in range(0, len(members), size)]
    return chunks


def _kept(model, rows, targets, n_new: int, about: str, path: Path) -> KeptFile:
    digest = hashlib.sha256(f"{weight_fingerprint(model)} {n_new} {about}".encode())
    digest.update(repr([row.tolist() for row in rows]).encode())
    digest.update(repr(list(map(int, targets))).encode())
    return KeptFile(path, digest.hexdigest(), "prompts or interventions")


def _restore(file: KeptFile | None, tokens: Tensor, log_prob: Tensor) -> set[int]:
    found = None if file is None else file.read("done", "tokens", "log_prob")
    if found is None:
        return set()
    done, kept_tokens, kept_log_prob = found
    index = torch.as_tensor(done)
    tokens[index], log_prob[index] = torch.as_tensor(kept_tokens), torch.as_tensor(kept_log_prob)
    return set(done.tolist())
