"""The provenance of a result, gathered from the model and the task that it was computed on."""

from time import perf_counter

from mechbench.results.base import Provenance
from mechbench.results.environment import git_revision, package_versions, utc_now
from mechbench.tasks.base import Task


class Clock:
    """Wall time since it was made."""

    def __init__(self) -> None:
        self._start = perf_counter()

    def provenance(
        self, model, task: Task, *, seed: int, notes: tuple[str, ...] = ()
    ) -> Provenance:
        """Where a result on ``model`` and ``task`` came from, up to now."""
        cfg = model.cfg
        source = model.source
        task_seed = task.source.get("seed")
        return Provenance(
            model=source.name,
            model_revision=source.sha256 or source.revision or f"{source.kind} weights",
            processing="+".join(source.processing) or "none",
            task=task.name,
            task_seed=task_seed if isinstance(task_seed, int) else None,
            n_prompts=len(task),
            seed=seed,
            dtype=str(cfg.dtype).removeprefix("torch."),
            device=str(cfg.device),
            versions=package_versions(),
            wall_time_s=perf_counter() - self._start,
            created=utc_now(),
            git=git_revision(),
            notes=notes,
        )
