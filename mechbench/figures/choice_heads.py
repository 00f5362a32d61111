"""Heat maps of what heads bring from the labels, and of how much they attend to them."""

from mechbench.figures.choices import DEFINITION
from mechbench.figures.evidence import (
    INTERVAL,
    evidence,
    layer_by_head,
    mean_of,
    provenance_of,
    shares,
)
from mechbench.figures.spec import FigureSpec
from mechbench.results.choice_heads import PLACE, PLACES, ChoiceHeads
from mechbench.results.choices import DIRECT, LENS, READING


def choice_heads_figure(result: ChoiceHeads) -> FigureSpec:
    """A row for each place: direct gap, lens gap, attention."""
    what = "label" if result.at == "label" else "end of the option"
    panels = []
    for place in PLACES:
        gap = mean_of(result.gap).sel({PLACE: place})
        weight = mean_of(result.attention).sel({PLACE: place})
        panels += [
            layer_by_head(gap.sel({READING: DIRECT}), f"direct gap, {place}", "logits"),
            layer_by_head(gap.sel({READING: LENS}), f"lens gap, {place}", "logits"),
            layer_by_head(weight, f"attention, {place}", "weight", colour=shares()),
        ]
    return FigureSpec(
        name="choice-heads",
        title="What heads bring from the labels to the last position",
        caption=(
            f"Gap logit(first label) - logit(right label) of pattern * value * W_O from one place "
            f"(the {what}) to the last position, mean over {result.n_items} {result.items} "
            f"prompts. {DEFINITION} Direct gap: part of the run's own gap; lens gap: the vector "
            "alone through final norm and unembedding, which gives a head that hardly attends "
            "there its full size. A random position is the control. "
            + evidence(result, interval=f"{INTERVAL} are in the result")
        ),
        panels=tuple(panels),
        columns=3,
        shared_colour=False,
        provenance=provenance_of(result),
    )
