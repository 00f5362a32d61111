"""Published and measured numbers about anchored answers, in separate columns."""

import numpy as np

from mechbench.figures.evidence import ESTIMATE, evidence, provenance_of
from mechbench.figures.spec import FigureSpec, Table
from mechbench.results.compare_choices import COLUMN, ROW, CompareChoices

_NOTHING = "–"


def compare_choices_figure(result: CompareChoices) -> FigureSpec:
    """A table beside each other where they compare, and one of everything published."""
    tags = "; ".join(f"{tag} {meaning}" for tag, meaning in result.tag_meanings.items())
    found = ", ".join(result.found) or "none"
    edited = result.edited_published or "not found"
    unassigned = "; ".join(f"{what}: {value:.3g}" for what, value in result.unassigned.items())
    return FigureSpec(
        name="compare-choices",
        title=f"Published for {result.published_model}, and measured here",
        caption=(
            f"{result.statement} Shares of prompts. Edited value vector (layer.neuron), published "
            f"for {result.published_model}: {edited}; found here in {result.provenance.model}: "
            f"{found}. Published without a stated model: {unassigned}. Published: {result.source} "
            f"Tags: {tags}. "
            + evidence(result, interval="measured: mean and 95 % bootstrap interval over prompts")
        ),
        panels=(_beside(result), _everywhere(result)),
        provenance=provenance_of(result),
    )


def _beside(result: CompareChoices) -> Table:
    rows = []
    for i, label in enumerate(str(r) for r in result.published[ROW].values):
        here = result.here.sel({ROW: label})
        mean, low, high = (float(here.sel({ESTIMATE: e})) for e in ("mean", "low", "high"))
        measured = _NOTHING if np.isnan(mean) else f"{mean:.3f} [{low:.3f}, {high:.3f}]"
        rows.append(
            (
                label,
                _number(float(result.published.sel({ROW: label}))),
                result.tags[i],
                measured,
                str(result.n[i]) if result.n[i] else _NOTHING,
                result.status[i],
            )
        )
    columns = ("number", "published", "tag", "here", "n", "status")
    return Table(columns=columns, rows=tuple(rows), title=f"{result.published_model}, and here")


def _everywhere(result: CompareChoices) -> Table:
    models = [str(c) for c in result.published_everywhere[COLUMN].values]
    rows = tuple(
        (str(label), *(_number(float(v)) for v in values))
        for label, values in zip(
            result.published_everywhere[ROW].values,
            result.published_everywhere.values,
            strict=True,
        )
    )
    return Table(columns=("number", *models), rows=rows, title="published, all models")


def _number(value: float) -> str:
    return _NOTHING if np.isnan(value) else f"{value:.3f}"
