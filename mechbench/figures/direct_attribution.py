"""Direct logit attribution: every head, and the strongest components beside their control."""

import numpy as np

from mechbench.figures.evidence import evidence, layer_by_head, mean_of, provenance_of, series
from mechbench.figures.spec import Bars, FigureSpec, Panel
from mechbench.results.direct_attribution import COMPONENT, DirectAttribution

_TITLE = "direct part (logits)"


def direct_attribution_figure(result: DirectAttribution, *, n_components: int = 16) -> FigureSpec:
    """A heat map of the heads, and bars of the components with the largest means."""
    mean = mean_of(result.summary)
    strongest = np.argsort(-np.abs(mean.values), kind="stable")[:n_components]
    at = {COMPONENT: np.sort(strongest)}
    shown = result.summary.isel(at)
    panels: list[Panel] = []
    if result.heads is not None:
        panels.append(layer_by_head(mean_of(result.heads), "every head", _TITLE))
    panels.append(
        Bars(
            groups=tuple(str(c) for c in shown[COMPONENT].values),
            series=(
                series(shown, "this prompt's answers"),
                series(result.control.isel(at), "another prompt's"),
            ),
            title=f"the {len(strongest)} largest components",
            x_title="component",
            y_title=_TITLE,
        )
    )
    total = float(mean_of(result.value_summary))
    return FigureSpec(
        name="direct-attribution",
        title=f"Direct attribution: {result.reading}",
        caption=(
            f"What each component adds to the {result.reading} without any later layer, with the "
            "final norm's divisor of the run; its centring, scale and bias are exact. Means over "
            f"answers and prompts; all components together give {total:.2f} logits, the model's "
            f"own value, to {result.largest_error:.1g}. " + evidence(result)
        ),
        panels=tuple(panels),
        columns=2,
        provenance=provenance_of(result),
    )
