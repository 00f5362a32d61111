"""One prompt of a task, for analyses that look at it closely."""

from torch import Tensor

from mechbench.errors import TaskError
from mechbench.tasks.base import Task


def prompt_tokens(model, task: Task, prompt: int, run: str) -> Tensor:
    """The tokens ``[1 pos]`` of a clean or corrupted prompt, where the model runs.

    Raises:
        TaskError: a prompt or a run that is not there, or more positions than the model has.
    """
    if run not in ("clean", "corrupted"):
        raise TaskError(f"run={run!r} is not known: use clean or corrupted.")
    pairs = task.pairs()
    if not 0 <= prompt < len(pairs):
        raise TaskError(f"prompt={prompt} is not there: use 0 to {len(pairs) - 1}.")
    model.check_length(pairs.n_positions)
    tokens = pairs.clean if run == "clean" else pairs.corrupt
    return tokens[prompt : prompt + 1].to(model.cfg.device)
