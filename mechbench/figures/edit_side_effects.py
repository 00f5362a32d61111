"""Other tasks and text under edits of value vectors."""

from mechbench.figures.evidence import evidence, mean_of, provenance_of, series
from mechbench.figures.spec import Bars, FigureSpec, Reference
from mechbench.results.choices import EDIT, MEASURE, NO_EDIT
from mechbench.results.edit_side_effects import (
    METRIC,
    OTHER_TASK,
    PERPLEXITY,
    TASK_ACCURACY,
    EditSideEffects,
)


def edit_side_effects_figure(result: EditSideEffects) -> FigureSpec:
    """Accuracy and metric change of the other tasks, perplexity, and change of the loss."""
    others = ", ".join(
        f"{name} ({n} prompts, {result.metrics[name]})" for name, n in result.n_other.items()
    )
    own = float(mean_of(result.text).sel({MEASURE: PERPLEXITY, EDIT: NO_EDIT}))
    restored = "was as before, bit for bit" if result.restored else "WAS NOT RESTORED"
    return FigureSpec(
        name="edit-side-effects",
        title="What else the edits change",
        caption=(
            f"Value vectors of {', '.join(result.neurons)} edited in the weights, all together, "
            f"λ1 = {result.lambda1:g} and λ2 = {result.lambda2:g}, with one target for all "
            f"prompts. Other tasks: {others or 'none'}. Accuracy: the answer is the likeliest "
            f"token. Text: {result.n_texts} {result.text_source}, perplexity {own:.2f} without an "
            f"edit. Changes are paired. Afterwards every weight {restored}. " + evidence(result)
        ),
        panels=(*_tasks(result), _perplexity(result), _loss(result)),
        columns=2,
        provenance=provenance_of(result),
    )


def _groups(result: EditSideEffects) -> tuple[str, ...]:
    return tuple(str(edit) for edit in result.text[EDIT].values)


def _tasks(result: EditSideEffects) -> tuple[Bars, ...]:
    if result.tasks is None or result.task_change is None:
        return ()
    names = [str(name) for name in result.tasks[OTHER_TASK].values]
    accuracy = result.tasks.sel({MEASURE: TASK_ACCURACY})
    change = result.task_change.sel({MEASURE: METRIC})
    return (
        Bars(
            groups=_groups(result),
            series=tuple(series(accuracy.sel({OTHER_TASK: name}), name) for name in names),
            title="other tasks: accuracy",
            y_title="share",
            y_limits=(0.0, 1.0),
        ),
        Bars(
            groups=_groups(result),
            series=tuple(series(change.sel({OTHER_TASK: name}), name) for name in names),
            references=(Reference(value=0.0),),
            title="other tasks: change of the metric",
            y_title="metric's units",
        ),
    )


def _perplexity(result: EditSideEffects) -> Bars:
    return Bars(
        groups=_groups(result),
        series=(series(result.text.sel({MEASURE: PERPLEXITY}), "text"),),
        title="text: perplexity",
        y_title="perplexity",
    )


def _loss(result: EditSideEffects) -> Bars:
    return Bars(
        groups=_groups(result),
        series=(series(result.text_change, "text"),),
        references=(Reference(value=0.0),),
        title="text: change of the loss",
        y_title="nats per token",
    )
