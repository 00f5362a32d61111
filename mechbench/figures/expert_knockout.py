"""What is lost without one expert, beside other experts of its layer."""

import numpy as np
import xarray as xr

from mechbench.figures.evidence import ESTIMATE, evidence, mean_of, provenance_of, series
from mechbench.figures.spec import Bars, FigureSpec, Reference
from mechbench.results.expert_interventions import ANSWERS, DOMAIN, EVERY, SCORED
from mechbench.results.expert_knockout import ExpertKnockout


def expert_knockout_figure(result: ExpertKnockout) -> FigureSpec:
    """The metric, its loss on answers by domain, on all tokens, and the load by domain."""
    name = result.metric_name.replace("_", " ")
    units = result.metric.attrs["units"]
    base = float(mean_of(result.base_metric))
    kind = (
        "Its parameters are left out of the average into which experts are merged, and the others "
        "count for more."
        if result.merged
        else "Tokens that chose it go to their other experts alone, which get its weight."
    )
    return FigureSpec(
        name="expert-knockout",
        title=f"Without expert {result.expert} of layer {result.layer}",
        caption=(
            f"{kind} The {name} (from {base:.2f} {units}) changes by {_said(result.metric)} "
            f"{units}, and by {_said(result.metric_random)} without another expert of the layer, "
            f"drawn for each text ({result.n_random} draws of {result.n_experts - 1}); the "
            f"difference is {_said(result.metric_beyond)}. Loss and load over {result.texts}; "
            f"the line is an even load of {result.n_experts} experts. "
            + evidence(
                result, interval="95 % bootstrap intervals over prompts, or texts of a domain"
            )
        ),
        panels=(
            _metric(result, name, units),
            _loss(result, ANSWERS, "loss of answers"),
            _loss(result, EVERY, "loss of all tokens"),
            _load(result),
        ),
        columns=2,
        provenance=provenance_of(result),
    )


def _said(values: xr.DataArray) -> str:
    mean, low, high = (float(values.sel({ESTIMATE: e})) for e in ("mean", "low", "high"))
    return f"{mean:+.3f}" + ("" if np.isnan(low) else f" [{low:+.3f}, {high:+.3f}]")


def _metric(result: ExpertKnockout, name: str, units: str) -> Bars:
    parts = {
        "this expert": result.metric,
        "random other": result.metric_random,
        "difference": result.metric_beyond,
    }
    stacked = xr.concat(list(parts.values()), dim="group")
    return Bars(
        groups=tuple(parts),
        series=(series(stacked, "change"),),
        references=(Reference(value=0.0),),
        title=name,
        y_title=f"Δ {units}",
    )


def _loss(result: ExpertKnockout, scored: str, title: str) -> Bars:
    return Bars(
        groups=tuple(str(domain) for domain in result.loss[DOMAIN].values),
        series=(
            series(result.loss.sel({SCORED: scored}), "this expert"),
            series(result.loss_random.sel({SCORED: scored}), "random other"),
        ),
        references=(Reference(value=0.0),),
        title=title,
        y_title="Δ nats",
    )


def _load(result: ExpertKnockout) -> Bars:
    return Bars(
        groups=tuple(str(domain) for domain in result.load[DOMAIN].values),
        series=(series(result.load, "load"),),
        references=(Reference(value=result.even_load, label="even"),),
        title="load of this expert",
        y_title="share of weights",
    )
