"""LD while heads are added to a mean-ablated model, one panel per letter."""

import numpy as np

from mechbench.figures.evidence import evidence, mean_of, provenance_of, series
from mechbench.figures.spec import FigureSpec, Lines, Reference, Series
from mechbench.results.circuit_evaluation import CircuitEvaluation
from mechbench.shapes import ANSWER


def circuit_evaluation_figure(result: CircuitEvaluation) -> FigureSpec:
    """Circuit and random heads by number of heads added; dashed is the intact model."""
    steps = [str(s) for s in result.values["step"].values]
    labels = tuple([steps[0], *(f"+{s}" for s in steps[1:])])
    full = mean_of(result.full_summary)
    panels = []
    for answer in (str(a) for a in result.values[ANSWER].values):
        draws = result.control.sel({ANSWER: answer}).transpose("step", "draw").values
        random = Series(
            label="random heads",
            values=draws.mean(1),
            low=draws.min(1),
            high=draws.max(1),
            dashed=True,
        )
        panels.append(
            Lines(
                x=np.arange(len(steps)),
                x_labels=labels,
                series=(series(result.summary.sel({ANSWER: answer}), "these heads"), random),
                references=(Reference(value=float(full.sel({ANSWER: answer})), label="intact"),),
                title=answer,
                x_title="head added",
                y_title="LD (logits)",
                markers=True,
            )
        )
    return FigureSpec(
        name="circuit-evaluation",
        title="Heads added to a mean-ablated model",
        caption=(
            "z of every other head is replaced by its mean over the corrupted prompts "
            f"({result.method}), position by position; MLPs are untouched. Order: "
            f"{result.chosen_by}. Random heads: mean and range of "
            f"{result.control.sizes['draw']} random orders. Values above the intact model come "
            "from ablating heads that oppose the answer. " + evidence(result)
        ),
        panels=tuple(panels),
        columns=len(panels),
        provenance=provenance_of(result),
    )
