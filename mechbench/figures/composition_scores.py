"""Composition of heads: a map of all pairs per mode, and the strongest pairs."""

import numpy as np

from mechbench.figures.evidence import evidence, provenance_of
from mechbench.figures.spec import Diverging, FigureSpec, Heatmap, Panel, Table
from mechbench.results.composition_scores import MODE, RECEIVER, SENDER, CompositionScores


def composition_scores_figure(result: CompositionScores, *, n_pairs: int = 12) -> FigureSpec:
    """Scores above those of Gaussian heads for Q, K and V, and the ``n_pairs`` highest."""
    high = float(np.quantile(result.control.values, 0.975))
    limit = float(np.nanmax(np.abs(result.excess.values))) if result.excess.notnull().any() else 1.0
    panels: list[Panel] = [_map(result, str(mode), limit) for mode in result.excess[MODE].values]
    panels.append(_strongest(result, n_pairs))
    pairs = result.scores.notnull()
    above = float((result.scores > high).sum() / max(int(pairs.sum()), 1))
    return FigureSpec(
        name="composition-scores",
        title="Composition of heads",
        caption=(
            "Frobenius norm of W_OV of the sender times the receiver's circuit (W_QK for Q, its "
            "transpose for K, W_OV for V) over the product of the norms, minus its mean for heads "
            f"of Gaussian weights ({float(result.control.mean()):.3f}; 97.5 % of "
            f"{result.control.size} draws at most {high:.3f}); {above:.0%} of the pairs are above "
            f"that. {result.norms}. Weights only. "
            + evidence(result, interval="no interval, for nothing is sampled but the control")
        ),
        panels=tuple(panels),
        columns=2,
        provenance=provenance_of(result),
    )


def _map(result: CompositionScores, mode: str, limit: float) -> Heatmap:
    values = result.excess.sel({MODE: mode}).transpose(SENDER, RECEIVER)
    senders = values.notnull().any(RECEIVER).values
    receivers = values.notnull().any(SENDER).values
    if senders.any():
        values = values[senders][:, receivers]
    return Heatmap(
        values=values.values,
        rows=tuple(str(s) for s in values[SENDER].values),
        cols=tuple(str(r) for r in values[RECEIVER].values),
        title=f"{mode}-composition",
        x_title="receiver",
        y_title="sender",
        value_title="above Gaussian heads",
        colour=Diverging(limit=limit),
    )


def _strongest(result: CompositionScores, n_pairs: int) -> Table:
    flat = result.scores.stack(pair=(MODE, SENDER, RECEIVER))
    values = np.nan_to_num(flat.values, nan=-1.0)
    order = [i for i in np.argsort(-values, kind="stable")[:n_pairs] if values[i] >= 0]
    baseline = float(result.control.mean())
    rows = []
    for index in order:
        mode, sender, receiver = flat["pair"].values[index]
        score = values[index]
        rows.append((mode, sender, receiver, f"{score:.3f}", f"{score / baseline:.1f}"))
    return Table(
        columns=("mode", "from", "to", "score", "× Gaussian"),
        rows=tuple(rows),
        title="the strongest pairs",
    )
