"""BOS swap as heat maps: a row of panels per pair of words, a column per letter."""

from mechbench.figures.evidence import INTERVAL, evidence, layer_by_head, mean_of, provenance_of
from mechbench.figures.spec import FigureSpec
from mechbench.results.bos_swap import BOSSwap
from mechbench.shapes import ANSWER


def bos_swap_figure(result: BOSSwap) -> FigureSpec:
    """Mean effect of exchanging one head's attention to BOS between two words' rows."""
    mean, control = mean_of(result.summary), mean_of(result.control)
    letters = [str(a) for a in mean[ANSWER].values]
    return FigureSpec(
        name="bos-swap",
        title="Attention to BOS exchanged between two words",
        caption=(
            "In one head at a time, the attention to BOS of the two words' capital tokens is "
            "exchanged; rows are not normalised again. Colour is LD swapped minus LD clean, the "
            "mean over prompts, negative is damage. Exchanging attention to the next token "
            f"instead changes LD by at most {float(abs(control).max()):.3f}. "
            + evidence(result, interval=f"{INTERVAL} are in the result")
        ),
        panels=tuple(
            layer_by_head(mean.sel({"swap": s, ANSWER: a}), f"{s}, {a}", "ΔLD (logits)")
            for s in mean["swap"].values
            for a in letters
        ),
        columns=len(letters),
        provenance=provenance_of(result),
    )
