"""Errors that are the user's to mend. Each says what was given, what was expected, what to do.

The command line prints the message as one paragraph and exits with code 2; anything else that is
raised is a defect of mechbench and keeps its traceback.
"""

from collections.abc import Iterable
from difflib import get_close_matches


class MechbenchError(Exception):
    """Base of every error that a user can cause and mend."""


class ModelNotFoundError(MechbenchError):
    """A model name that is neither bundled, nor a folder, nor reachable on the hub."""


class CheckpointError(MechbenchError):
    """Weights or a config that cannot be read, or do not fit the model."""


class TokenizerError(MechbenchError):
    """A tokenizer is missing, or does not split a text as the task needs."""


class HookNameError(MechbenchError):
    """A hook name or filter that matches nothing on this model."""


class UnsupportedHookError(MechbenchError):
    """A site that this model does not have."""


class TaskError(MechbenchError):
    """A task whose prompts, answers or lengths do not fit together."""


class NumericsError(MechbenchError):
    """NaN or infinite logits."""


class MemoryBudgetError(MechbenchError):
    """Even the smallest unit of work does not fit in memory."""


class SpecError(MechbenchError):
    """An experiment spec or recipe that does not validate."""


class CircuitError(MechbenchError):
    """A circuit or an edge that does not fit the model."""


class StoreError(MechbenchError):
    """A run folder that cannot be written, read or resumed."""


class WorkerError(MechbenchError):
    """A job's process that is gone, or could not be started, or what went wrong in it."""


def nearest(name: str, known: Iterable[str], n: int = 3) -> list[str]:
    """Up to ``n`` names of ``known`` that look like ``name``, best first (case-insensitive)."""
    by_lower = {k.lower(): k for k in known}
    return [by_lower[m] for m in get_close_matches(name.lower(), by_lower, n=n, cutoff=0.4)]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A sentence that offers the nearest known names, or lists a few when none is near."""
    known = list(known)
    close = nearest(name, known)
    if close:
        return f"Did you mean {' or '.join(repr(c) for c in close)}?"
    shown = ", ".join(repr(k) for k in sorted(known)[:8])
    return f"Known names: {shown}{', ...' if len(known) > 8 else ''}."
