"""A sweep of patches as a heat map, layer by head or by position."""

from mechbench.figures.evidence import INTERVAL, evidence, mean_of, provenance_of
from mechbench.figures.spec import FigureSpec, Heatmap
from mechbench.results.patch_sweep import PatchSweep
from mechbench.shapes import LAYER, POSITION


def patch_sweep_figure(result: PatchSweep, *, share: bool = False) -> FigureSpec:
    """Mean effect of each patch; with ``share``, of the way from the unpatched to the other run."""
    noise = result.direction == "noise"
    written, into = ("corrupted", "clean") if noise else ("clean", "corrupted")
    units = result.effect.attrs["units"]
    metric = result.metric_name.replace("_", " ")
    control = (
        ""
        if result.control is None
        else " Random directions of the same length reach at most "
        f"{float(abs(mean_of(result.control)).max()):.2f}."
    )
    colour = "share of the way to that run" if share else "patched minus unpatched"
    return FigureSpec(
        name="patch-sweep",
        title=f"Patching {result.site}: {written} into {into}",
        caption=(
            f"{result.site} of the {written} run ({result.corruption.replace('_', ' ')}) is "
            f"written into the {into} run; colour is the {metric}, {colour}, the mean over "
            f"prompts. Unpatched it is {float(result.base.mean()):.2f}, in the other run "
            f"{float(result.other.mean()):.2f} {units}.{control} "
            + evidence(result, interval=f"{INTERVAL} are in the result")
        ),
        panels=(_panel(result, share),),
        provenance=provenance_of(result),
    )


def _panel(result: PatchSweep, share: bool) -> Heatmap:
    values = mean_of(result.share if share else result.summary).transpose(LAYER, result.place)
    cols = tuple(str(label) for label in values[result.place].values)
    if result.place == POSITION:
        cols = tuple(f"{i} {c}" if c != str(i) else c for i, c in enumerate(cols))
    return Heatmap(
        values=values.values,
        rows=tuple(str(layer) for layer in values[LAYER].values),
        cols=cols,
        x_title=result.place,
        y_title="layer",
        value_title="share" if share else f"change ({result.effect.attrs['units']})",
        first_row="bottom",
    )
