"""What the page Multi-hop asks the library: the specs of its views."""

from typing import Any

from apps.common.catalogue import models
from apps.common.specs import one_step
from mechbench.experiments.spec import ExperimentSpec, StepPart
from mechbench.resources import PLANTED

GENERATED_HOPS, FILE_OF_HOPS = "two_hop", "two_hop_file"
BACK, STAGES = "back-patching", "two-hop-stages"
PLACES = ("t1", "t2")
USUAL = {"model": "twohop", "task": GENERATED_HOPS, "n": 48, "seed": 0}
N_SHOWN = 8  # prompts whose continuations a patchscope keeps as text


def offered() -> list[str]:
    """Models with a tokenizer, those trained on two hops first."""
    names = [name for name in models() if name not in PLANTED]
    return sorted(names, key=lambda name: not name.startswith("twohop"))


def step_of(spec: ExperimentSpec, step: str) -> StepPart:
    """The step of a spec with this id."""
    return next(part for part in spec.steps if part.id == step)


def back_spec(
    model: str, part: dict[str, Any], *, split: int, most: int, **params: Any
) -> ExperimentSpec:
    """Back-patching of every pair of layers; ``most`` 0 runs all queries."""
    title = "Back-patching: which pairs of layers make the answer right"
    spec = _unprocessed(
        BACK, title, model, part, "back_patching", **_text(params), most=most if most else None
    )
    return spec.model_copy(update={"seed": split})


def text_spec(
    stored: ExperimentSpec,
    *,
    cell: tuple[int, int],
    position: str,
    queries: list[int],
    tokens: int,
    temperature: float,
) -> ExperimentSpec:
    """The texts of some queries at one cell of the back-patching of a run."""
    step = step_of(stored, BACK)
    task = {"name": stored.task.name, "params": step.task_options(stored.task)}
    spec = _unprocessed(
        "back-patched-text",
        f"Layer {cell[0]} written into layer {cell[1]} at {position}",
        stored.model.name,
        task,
        "back_patched_text",
        source_layer=cell[0],
        target_layer=cell[1],
        position=position,
        queries=queries,
        **_text({"method": step.params.get("method", "generate"), "max_new_tokens": tokens}),
        temperature=temperature,
    )
    return spec.model_copy(update={"model": stored.model, "seed": stored.seed})


def labels_spec(model: str, part: dict[str, Any], **params: Any) -> ExperimentSpec:
    """The five questions of every query."""
    title = "Which hops, compositions and shortcuts the model answers"
    return _unprocessed("hop-labels", title, model, part, "hop_labels", **_text(params))


def stages_spec(model: str, part: dict[str, Any], **params: Any) -> ExperimentSpec:
    """The first layer of each stage, in the correct and the incorrect set."""
    title = "When the stages of two-hop queries are seen"
    return _unprocessed(STAGES, title, model, part, "two_hop_stages", **params)


def scope_spec(model: str, part: dict[str, Any], **params: Any) -> ExperimentSpec:
    """What states say in another prompt."""
    title = f"States at {params['where']} in the prompt {params['prompt']!r}"
    return _unprocessed(
        "patchscope", title, model, part, "patchscope", n_shown=N_SHOWN, **_text(params)
    )


def evidence_spec(model: str, part: dict[str, Any], analysis: str) -> ExperimentSpec:
    """One of the analyses that follow the two hops through the layers, by first tokens."""
    params: dict[str, Any] = {"labels": "argmax"}
    if analysis == "entity_description":
        params |= {"prompt": "lens", "method": "argmax"}
    if analysis == "attention_knockout":
        params |= {"window": 1, "method": "argmax"}
    name = analysis.replace("_", "-")
    return _unprocessed(name, name, model, part, analysis, **params)


def _unprocessed(*given: Any, **params: Any) -> ExperimentSpec:
    """``one_step`` on weights as they are: models of looped layers cannot be folded."""
    spec = one_step(*given, **params)
    as_it_is = {"fold_ln": False, "center_writing_weights": False, "center_unembed": False}
    return spec.model_copy(update={"model": spec.model.model_copy(update=as_it_is)})


def _text(params: dict[str, Any]) -> dict[str, Any]:
    """First tokens alone have no number of tokens."""
    dropped = "max_new_tokens" if params.get("method") == "argmax" else ""
    return {name: value for name, value in params.items() if name != dropped}
