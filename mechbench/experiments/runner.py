"""Run an experiment: each step's result and figure are saved as soon as they exist."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from shutil import rmtree
from time import perf_counter
from typing import Any

from mechbench.experiments.claims import FINISHED, claim_run
from mechbench.experiments.observer import Observer
from mechbench.experiments.saved import figure_file
from mechbench.experiments.spec import ExperimentSpec, ModelPart
from mechbench.experiments.speed import load_speed, save_speed
from mechbench.experiments.speed_measurement import measure_speed
from mechbench.experiments.steps import Reference, Step, checked_steps
from mechbench.figures.export import export_figure
from mechbench.models.base import HookedModel
from mechbench.models.bundled import bundled_models
from mechbench.models.loading import load_model
from mechbench.results.base import Result
from mechbench.results.codec import content_hash
from mechbench.results.run import Run
from mechbench.results.store import RunStore
from mechbench.tasks.registry import build_task, check_params


def run_experiment(
    spec: ExperimentSpec,
    store: RunStore,
    *,
    resume: bool = False,
    force: bool = False,
    observer: Observer | None = None,
) -> Run:
    """The run of ``spec`` in ``store``, finished.

    A finished run of an equal spec is returned as it is, unless ``force``. With ``resume`` an
    unfinished one goes on: steps whose results are there are kept, and the step that was
    interrupted goes on at its last finished chunk.

    Raises:
        SpecError: an analysis or a parameter that does not exist. Nothing has been loaded yet.
        StoreError: an unfinished run of this spec is there and ``resume`` is false, or the folder
            cannot be written.
        MechbenchError: whatever the model, the task or an analysis raises; the run is then kept
            with the status "failed" and the message.
        KeyboardInterrupt: the run is kept with the status "interrupted".
    """
    check_spec(spec)
    run = claim_run(spec, store, resume=resume, force=force)
    if run.status().state != FINISHED:
        carry_out(spec, run, observer or Observer())
    return run


def check_spec(spec: ExperimentSpec) -> None:
    """Raises MechbenchError for names that do not exist: analyses, tasks, parameters."""
    checked_steps(spec)
    for part in spec.steps:
        check_params(spec.task.name, list(part.task_options(spec.task)))


def load_part(part: ModelPart, device: str | None) -> HookedModel:
    """The model that a spec asks for."""
    return load_model(
        part.name,
        snapshot=part.snapshot,
        fold_ln=part.fold_ln,
        center_writing_weights=part.center_writing_weights,
        center_unembed=part.center_unembed,
        dtype=part.dtype,
        device=device,
    )


def carry_out(
    spec: ExperimentSpec,
    run: Run,
    observer: Observer,
    *,
    load: Callable[[ModelPart, str | None], HookedModel] = load_part,
) -> None:
    """Do what ``run``, which ``claim_run`` gave for this spec, still lacks.

    ``load`` gives the model, for callers that keep models loaded.

    Raises:
        As ``run_experiment``.
    """
    try:
        _work(spec, checked_steps(spec), run, observer, load)
        run.set_status(FINISHED)
    except KeyboardInterrupt:
        run.set_status("interrupted")
        raise
    except Exception as error:
        run.set_status("failed", error=f"{type(error).__name__}: {error}")
        raise


def _work(spec: ExperimentSpec, steps: list[Step], run: Run, observer: Observer, load) -> None:
    """Do what is not done yet: steps, their figures, the speed measurement."""
    fitting = [step for step in steps if _fits(step, spec.model.name, observer)]
    missing = [step for step in fitting if not (run.has(step.id) and figure_file(run, step.id))]
    time_it = spec.measure_speed and load_speed(run.path) is None
    if not missing and not time_it:
        return
    observer.loading(spec.model.name)
    context = _Context(spec, load(spec.model, spec.device))
    for number, step in enumerate(fitting, 1):
        if step not in missing:
            observer.step_kept(step.id)
            continue
        observer.step_started(step.id, number, len(fitting))
        run.log(f"step {step.id} ({step.part.analysis}) started")
        start = perf_counter()
        if not run.has(step.id):
            run.save_result(step.id, _one_step(step, context, run, observer))
            rmtree(run.checkpoint_path(step.id), ignore_errors=True)
        save_figure(step.part.analysis, step.id, run, spec)
        seconds = perf_counter() - start
        run.log(f"step {step.id} finished in {seconds:.1f} s")
        observer.step_finished(step.id, seconds)
    if time_it:
        task = context.task(spec.task.options())
        save_speed(run.path, measure_speed(context.model, task.pairs(), task.metric()))


def _fits(step: Step, model: str, observer: Observer) -> bool:
    if step.part.needs != "snapshots":
        return True
    if any(found.name == model and found.snapshots for found in bundled_models()):
        return True
    observer.step_left_out(step.id, f"{model} ships no training snapshots")
    return False


def _one_step(step: Step, context: "_Context", run: Run, observer: Observer) -> Result:
    result = step.function(
        context.model,
        context.task(step.part.task_options(context.spec.task)),
        **_looked_up(step.params, run),
        seed=context.spec.seed,
        progress=lambda done, total: observer.step_advanced(step.id, done, total),
        checkpoint=run.checkpoint_path(step.id),
    )
    provenance = replace(result.provenance, spec_hash=run.spec_hash)
    return replace(result, provenance=provenance)


def _looked_up(params: Mapping[str, Any], run: Run) -> dict[str, Any]:
    return {
        name: value.look_up(run.load_result) if isinstance(value, Reference) else value
        for name, value in params.items()
    }


class _Context:
    """The model and the tasks of an experiment; each task is made once."""

    def __init__(self, spec: ExperimentSpec, model: HookedModel):
        self.spec, self.model = spec, model
        self._tasks: dict[str, Any] = {}

    def task(self, options: Mapping[str, Any]) -> Any:
        """The spec's task with these options."""
        key = content_hash(dict(options))
        if key not in self._tasks:
            name = self.spec.task.name
            self._tasks[key] = build_task(name, self.model.tokenizer, **options)
        return self._tasks[key]


def figure_of(analysis: str, result: Result) -> Any:
    """The ``FigureSpec`` that an analysis' result is drawn as."""
    module = import_module(f"mechbench.figures.{analysis}")
    return getattr(module, f"{analysis}_figure")(result)


def save_figure(analysis: str, step: str, run: Run, spec: ExperimentSpec) -> list[Path]:
    """The files of a step's figure, in the formats that the spec asks for; SVG and HTML always."""
    formats = sorted({*spec.outputs.formats, "html", "svg"})
    figure = replace(figure_of(analysis, run.load_result(step)), name=step)
    preset = spec.outputs.preset
    return export_figure(figure, run.figures, formats=formats, preset=preset, plotly_js="directory")
