"""Running patched prompts in chunks, and decoding them token by token."""

import logging
from collections.abc import Callable, Sequence
from functools import partial
from itertools import takewhile
from typing import Protocol

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mechbench.errors import MemoryBudgetError
from mechbench.interventions.budget import is_out_of_memory
from mechbench.interventions.kept_file import KeptFile
from mechbench.interventions.state_patches import StatePatch
from mechbench.models.base import check_finite

_log = logging.getLogger(__name__)

NOTHING = -1
"""Stands in ``tokens`` behind the end of a continuation."""


class Run(Protocol):
    """Rows that are continued token by token."""

    def __call__(self, new: Int[Tensor, "row pos"]) -> Float[Tensor, "row d_vocab"]:
        """Logits after the last of these tokens; the first call brings the prompts."""
        ...


class Executor(Protocol):
    """A way of running patches of prompts of one length."""

    method: str
    most_rows: int

    def start(
        self,
        tokens: Int[Tensor, "row pos"],
        patches: Sequence[StatePatch],
        states: Float[Tensor, "state d_model"],
        n_new: int,
    ) -> Run:
        """A run of these rows, whose patches stand at one position, in order of layer."""
        ...

    def row_bytes(self, n_positions: int, n_new: int) -> int:
        """What one row takes while its chunk runs, about."""
        ...


class GenerationWork:
    """Patches in order of length and position, their tokens so far, and what is left."""

    def __init__(
        self, *, executor, prompts, states, patches, tokens, continued, chosen, progress
    ) -> None:
        self.executor: Executor = executor
        self.prompts, self.states, self.patches, self.tokens = prompts, states, patches, tokens
        self.continued, self.chosen, self.progress = continued, chosen, progress
        self.waiting = list(range(len(patches)))
        self.file: KeptFile | None = None
        self.n_chunks = 0

    def resume(self, file: KeptFile) -> None:
        self.file = file
        found = file.read("done", "tokens")
        if found is not None:
            done, kept = found
            self.tokens[torch.as_tensor(done)] = torch.as_tensor(kept)
            left = set(self.waiting) - set(done.tolist())
            self.waiting = [i for i in self.waiting if i in left]

    def run(self, budget_bytes: int) -> None:
        self.budget = budget_bytes
        self._report()
        try:
            while self.waiting:
                self._run_chunk(self._next_chunk())
        finally:
            self._save()

    def _run_chunk(self, chunk: list[int]) -> None:
        chunk = sorted(chunk, key=lambda i: self.patches[i].layer)
        patches = [self.patches[i] for i in chunk]
        tokens = torch.stack([self.prompts[patch.prompt] for patch in patches])
        try:
            run = self.executor.start(tokens, patches, self.states, self.tokens.shape[1])
            new = self.continued(run, tokens, partial(self.chosen, rows=chunk))
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            if len(chunk) == 1:
                raise MemoryBudgetError(
                    "One patched prompt alone does not fit in memory. Use a shorter prompt, fewer "
                    "new tokens or a smaller dtype."
                ) from error
            self.budget = min(self.budget, self._row_bytes(chunk[0]) * len(chunk)) // 2
            _log.warning("Memory ran out: going on with a budget of %d MiB.", self.budget >> 20)
            return
        self.tokens[chunk] = new.cpu()
        self.waiting = self.waiting[len(chunk) :]
        self.n_chunks += 1
        self._report()
        if self.file is not None and self.file.due and self.waiting:
            self._save()

    def _next_chunk(self) -> list[int]:
        """The first waiting patches at one position of prompts of one length."""
        first = self.waiting[0]
        most = max(1, self.budget // self._row_bytes(first))
        chunk = self.waiting[: min(most, self.executor.most_rows)]
        return list(takewhile(lambda i: self._shape(i) == self._shape(first), chunk))

    def _shape(self, index: int) -> tuple[int, int]:
        patch = self.patches[index]
        return len(self.prompts[patch.prompt]), patch.position

    def _row_bytes(self, index: int) -> int:
        return self.executor.row_bytes(self._shape(index)[0], self.tokens.shape[1])

    def _report(self) -> None:
        if self.progress is not None:
            self.progress(len(self.patches) - len(self.waiting), len(self.patches))

    def _save(self) -> None:
        if self.file is not None:
            waiting = set(self.waiting)
            done = [i for i in range(len(self.patches)) if i not in waiting]
            index = torch.tensor(done, dtype=torch.long)
            self.file.write(done=index.numpy(), tokens=self.tokens[index].numpy())


def continued(
    run: Run,
    prompts: Tensor,
    choose_next: Callable[[Tensor], Tensor],
    *,
    model,
    n_new: int,
    eos: int | None,
) -> Tensor:
    """The new tokens of rows ``[row new]``, ``NOTHING`` behind an end of text."""
    out = torch.full((len(prompts), n_new), NOTHING, device=prompts.device)
    ended = torch.zeros(len(prompts), dtype=torch.bool, device=prompts.device)
    new = prompts
    for step in range(n_new):
        logits = run(new)
        check_finite(logits, model.cfg.model_name)
        new = choose_next(logits)[:, None]
        out[:, step] = torch.where(ended, NOTHING, new[:, 0])
        if eos is not None:
            ended |= new[:, 0] == eos
            if ended.all():
                break
    return out
