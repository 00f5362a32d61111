"""Attention taken away between two positions: log-probability and answers, layer by layer."""

from mechbench.figures.evidence import evidence, provenance_of
from mechbench.figures.query_panels import by_layer, counted
from mechbench.figures.spec import FigureSpec, Reference
from mechbench.results.attention_knockout import PAIR, AttentionKnockout
from mechbench.shapes import LAYER


def attention_knockout_figure(result: AttentionKnockout) -> FigureSpec:
    """For each pair of positions two panels over layers, each with its control."""
    panels = []
    for pair in result.change[PAIR].values:
        at = {PAIR: pair}
        panels.append(
            by_layer(
                result.change.sel(at, drop=True),
                result.control_change.sel(at, drop=True),
                LAYER,
                f"{pair}: log-probability",
                "change (nats)",
                references=(Reference(value=0.0),),
            )
        )
        panels.append(
            by_layer(
                result.matters.sel(at, drop=True),
                result.control_matters.sel(at, drop=True),
                LAYER,
                f"{pair}: answer changes",
                "share",
                y_limits=(0.0, 1.0),
            )
        )
    answer = "first token" if result.method == "argmax" else f"text of {result.n_new} tokens"
    return FigureSpec(
        name="attention-knockout",
        title="Attention that two-hop queries need",
        caption=(
            "In all heads of the layers within "
            f"{result.window} of the one on the axis the first position may not attend to the "
            "second. Negative is damage; an answer that names e3 with and without the mask has not "
            f"changed (greedy, {answer}). The control masks another key position, drawn by the "
            f"seed. Groups: {counted(result.counts)}. " + evidence(result)
        ),
        panels=tuple(panels),
        columns=2,
        provenance=provenance_of(result),
    )
