"""Head patching as heat maps: a row of panels per place, a column per letter."""

from mechbench.figures.evidence import INTERVAL, evidence, layer_by_head, mean_of, provenance_of
from mechbench.figures.spec import FigureSpec
from mechbench.results.head_sweep import WHERE, HeadSweep
from mechbench.shapes import ANSWER


def head_sweep_figure(result: HeadSweep, *, control: bool = False) -> FigureSpec:
    """Mean effect by layer and head; with ``control``, that of random directions instead."""
    values = result.control if control and result.control is not None else result.summary
    mean = mean_of(values)
    letters = [str(a) for a in mean[ANSWER].values]
    places = [str(w) for w in mean[WHERE].values]
    about = (
        ""
        if result.control is None
        else (
            " Random directions of the same length reach at most "
            f"{float(abs(mean_of(result.control)).max()):.2f}."
        )
    )
    return FigureSpec(
        name="head-sweep",
        title=f"Heads, {result.corruption.replace('_', ' ')} corrupted",
        caption=(
            f"Noising: z of one head from the corrupted run ({result.method}) is written into the "
            "clean run at the positions in the title; colour is LD patched minus LD clean, the "
            f"mean over prompts, negative is damage.{about} "
            + evidence(result, interval=f"{INTERVAL} are in the result")
        ),
        panels=tuple(
            layer_by_head(mean.sel({WHERE: w, ANSWER: a}), f"{a}, {w}", "ΔLD (logits)")
            for w in places
            for a in letters
        ),
        columns=len(letters),
        provenance=provenance_of(result),
    )
