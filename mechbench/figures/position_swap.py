"""Attention to the words with position embeddings exchanged: a row of panels per head."""

from mechbench.figures.evidence import evidence, provenance_of, words_by_condition
from mechbench.figures.spec import FigureSpec
from mechbench.results.position_swap import PositionSwap
from mechbench.shapes import HEAD


def position_swap_figure(result: PositionSwap) -> FigureSpec:
    """Bars of attention, clean and swapped, one panel per head and pair of words."""
    swaps = [str(s) for s in result.attention["swap"].values]
    return FigureSpec(
        name="position-swap",
        title="Position embeddings of two words exchanged",
        caption=(
            "Attention from the position that predicts each letter to each capital token, with the "
            "position embeddings of the two words' capital tokens exchanged, and of their last "
            "tail tokens as the control. " + evidence(result)
        ),
        panels=tuple(
            words_by_condition(
                result.attention_summary.sel({HEAD: head, "swap": swap}), f"{head}, {swap}"
            )
            for head in result.heads
            for swap in swaps
        ),
        columns=len(swaps),
        provenance=provenance_of(result),
    )
