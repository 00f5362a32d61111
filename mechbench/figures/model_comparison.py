"""Models side by side: accuracy against cache, cache by length, accuracy by task, sizes."""

import numpy as np

from mechbench.errors import MechbenchError
from mechbench.figures.evidence import provenance_of
from mechbench.figures.palette import SERIES
from mechbench.figures.spec import FigureSpec, Heatmap, Lines, Panel, Points, Sequential, Series
from mechbench.results.model_comparison import LENGTH, MODEL, TASK, ModelComparison

_MOST = 12


def model_comparison_figure(result: ModelComparison) -> FigureSpec:
    """Accuracy against cache (left out where no card has both), cache by length, accuracy by task.

    Raises:
        MechbenchError: more models than fit on a page.
    """
    names = [str(name) for name in result.parameters[MODEL].values]
    if len(names) > _MOST:
        raise MechbenchError(
            f"A figure of {len(names)} models does not fit on a page: choose at most {_MOST}."
        )
    bounds = (
        f"For {', '.join(result.bounds)} the formula is the most that can be kept. "
        if result.bounds
        else ""
    )
    panels: list[Panel] = [_cache(result, names), _accuracies(result, names)]
    both = (result.mean_accuracy.notnull() & result.cache_per_token.notnull()).values
    if both.any():
        panels.insert(0, _against(result, [n for n, on in zip(names, both, strict=True) if on]))
    said = np.isfinite(result.n_answers.values)
    return FigureSpec(
        name="model-comparison",
        title="Models side by side",
        caption=(
            "From the models' cards, measured in this repository when they were made, and none of "
            "it published. Accuracy: share of right answers on held-out prompts, here the mean "
            "over a model's tasks and below by task; models that were trained on other text have "
            "other tasks. Cache: bytes that generation keeps of one prompt in "
            f"single precision, measured per token, and by formula up to the context. {bounds}"
            f"{int(result.n_answers.values[said].sum())} answers were scored where cards say how "
            "many; no interval, because the cards have none of these."
        ),
        panels=tuple(panels),
        columns=2,
        provenance=provenance_of(result),
    )


def _against(result: ModelComparison, names: list[str]) -> Points:
    at = {MODEL: names}
    return Points(
        x=result.cache_per_token.sel(at).values,
        y=result.mean_accuracy.sel(at).values,
        groups=tuple(names),
        labels=tuple(f"{name}, {result.corpora[name]}" for name in names),
        title="accuracy against cache",
        x_title="bytes per token, measured",
        y_title="mean accuracy",
    )


def _cache(result: ModelComparison, names: list[str]) -> Lines:
    return Lines(
        x=result.cache[LENGTH].values,
        series=tuple(
            Series(
                label=name, values=result.cache.sel({MODEL: name}).values, dashed=i >= len(SERIES)
            )
            for i, name in enumerate(names)
        ),
        title="cache by length, by formula",
        x_title="tokens",
        y_title="bytes",
        x_scale="log",
        y_scale="log",
        markers=True,
    )


def _accuracies(result: ModelComparison, names: list[str]) -> Heatmap:
    values = result.accuracy.transpose(MODEL, TASK).values
    return Heatmap(
        values=values,
        rows=tuple(names),
        cols=tuple(str(task) for task in result.accuracy[TASK].values),
        title="accuracy by task",
        value_title="share",
        colour=Sequential(),
        cell_text=tuple(
            tuple("" if np.isnan(value) else f"{value:.3f}" for value in row) for row in values
        ),
    )
