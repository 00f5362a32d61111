"""Path patching as heat maps: a panel per answer."""

from mechbench.figures.evidence import INTERVAL, evidence, layer_by_head, mean_of, provenance_of
from mechbench.figures.spec import FigureSpec
from mechbench.results.path_patching import TO_LOGITS, PathPatching
from mechbench.shapes import ANSWER


def path_patching_figure(result: PathPatching, *, control: bool = False) -> FigureSpec:
    """Mean effect by layer and head; with ``control``, that of random directions instead."""
    values = result.control if control and result.control is not None else result.summary
    mean = mean_of(values)
    answers = mean[ANSWER].values.tolist()
    to_logits = result.receivers == (TO_LOGITS,)
    into = "the logits" if to_logits else ", ".join(result.receivers)
    mlps = "MLPs on the way see the change" if result.through_mlps else "direct edges only"
    about = ""
    if result.control is not None:
        about = (
            " Random directions of the same length reach at most "
            f"{float(abs(mean_of(result.control)).max()):.2f}."
        )
    units = result.effect.attrs["units"]
    return FigureSpec(
        name="path-patching",
        title=f"Paths from heads into {into}",
        caption=(
            f"The corrupted output ({result.corruption or 'the task’s corruption'}) of one head is "
            f"sent into {into} while all other heads keep their clean output ({mlps}); colour is "
            f"{result.metric} patched minus clean, the mean over prompts, negative is damage."
            f"{about} " + evidence(result, interval=f"{INTERVAL} are in the result")
        ),
        panels=tuple(
            layer_by_head(mean.sel({ANSWER: a}), str(a), f"Δ{result.metric} ({units})")
            for a in answers
        ),
        columns=min(3, len(answers)),
        provenance=provenance_of(result),
    )
