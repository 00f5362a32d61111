"""POS, BOS and both: attention of heads to the words, a row of panels per head."""

from mechbench.figures.evidence import ESTIMATE, evidence, provenance_of, words_by_condition
from mechbench.figures.spec import FigureSpec
from mechbench.results.combined_swap import CombinedSwap
from mechbench.shapes import HEAD


def combined_swap_figure(result: CombinedSwap) -> FigureSpec:
    """Bars of attention under the four conditions, one panel per head and pair of words."""
    swaps = [str(s) for s in result.attention["swap"].values]
    n_swapped = {s: int(result.swapped.sel(swap=s).sum()) for s in swaps}
    clean = result.attention_summary.sel({ESTIMATE: "mean", "condition": "clean"})
    moved = abs(result.control.mean("draw") - clean).max()
    counted = ", ".join(f"{s} {n}" for s, n in n_swapped.items())
    return FigureSpec(
        name="combined-swap",
        title="Positions and attention to BOS exchanged",
        caption=(
            "POS exchanges the position embeddings of two words' capital tokens, BOS their "
            "attention to BOS in every head where that alone costs some letter more than "
            f"{result.threshold} logits (heads: {counted}). As many random other heads move mean "
            f"attention by at most {float(moved):.3f}. " + evidence(result)
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
