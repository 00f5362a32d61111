"""A circuit's heads over training."""

import xarray as xr

from mechbench.figures.evidence import evidence, provenance_of, series
from mechbench.figures.spec import FigureSpec, Lines, Series
from mechbench.results.circuit_formation import CircuitFormation
from mechbench.results.circuit_search import ALL_LETTERS
from mechbench.shapes import ANSWER, HEAD

_PARTS = {"full": "intact model", "circuit": "circuit only", "nothing": "no heads"}


def circuit_formation_figure(result: CircuitFormation) -> FigureSpec:
    """Accuracy, LD, effects of heads, copying and attention, by training step."""
    at = {ANSWER: ALL_LETTERS}
    effect, other = result.effect.sel(at), result.effect_control.sel(at)
    roles = ", ".join(f"{h} {r}" for h, r in result.roles.items()) or ", ".join(result.heads)
    panels = (
        _lines(
            result,
            [
                series(result.accuracy.sel({ANSWER: a}), str(a))
                for a in result.accuracy[ANSWER].values
            ],
            "accuracy",
            "share of letters predicted",
        ),
        _lines(
            result,
            [
                series(result.logit_diff.sel({**at, "part": part}), label)
                for part, label in _PARTS.items()
            ],
            "logit difference, all letters",
            "LD (logits)",
        ),
        _lines(
            result,
            [
                *(series(effect.sel({HEAD: h}), h) for h in result.heads),
                Series(label="mean of other heads", values=other.values, dashed=True),
            ],
            "one head mean-ablated",
            "ΔLD (logits)",
        ),
        _lines(
            result,
            [*_per_head(result.copying), _other("mean of other heads", result.copying_control)],
            "OV copying, ·X → X",
            "share of letters",
        ),
        *(
            _lines(result, _per_head(result.attention.sel(kind=kind)), str(kind), "attention")
            for kind in result.attention["kind"].values
        ),
    )
    return FigureSpec(
        name="circuit-formation",
        title="The circuit over training",
        caption=(
            f"Each training snapshot is measured by itself. Heads ({result.chosen_by}): {roles}. "
            "One head mean-ablated: LD with it ablated minus LD, negative means that it helps. OV "
            "copying goes from the letter with a space (·X) through MLP 0 to the letter. "
            + evidence(result)
        ),
        panels=panels,
        columns=2,
        provenance=provenance_of(result),
    )


def _lines(result: CircuitFormation, lines: list[Series], title: str, y_title: str) -> Lines:
    return Lines(
        x=result.accuracy["step"].values,
        series=tuple(lines),
        title=title,
        x_title="training step",
        y_title=y_title,
        markers=True,
    )


def _per_head(values: xr.DataArray) -> list[Series]:
    return [Series(label=str(h), values=values.sel({HEAD: h}).values) for h in values[HEAD].values]


def _other(label: str, values: xr.DataArray) -> Series:
    return Series(label=label, values=values.values, dashed=True)
