"""Bytes that generation keeps, by model and length."""

from dataclasses import replace

import xarray as xr

from mechbench.figures.evidence import evidence, mean_of, provenance_of, series
from mechbench.figures.palette import SERIES
from mechbench.figures.spec import FigureSpec, Lines, Series, Table
from mechbench.results.cache_sizes import LENGTH, MODEL, CacheSizes


def cache_sizes_figure(result: CacheSizes) -> FigureSpec:
    """Bytes per token as measured and by formula, bytes in all by formula, and a table."""
    names = [str(name) for name in result.measured[MODEL].values]
    known = result.per_token.notnull().any([d for d in result.per_token.dims if d != LENGTH])
    measured = result.per_token.isel({LENGTH: known.values})
    wrong = [name for name, agree in result.agree.items() if not agree]
    verdict = f"They disagree for {', '.join(wrong)}. " if wrong else "They agree everywhere. "
    bounds = f"For {', '.join(result.bounds)} the formula is the most that can be kept. "
    left_out = f"Left out, for they keep nothing: {', '.join(result.left_out)}. "
    return FigureSpec(
        name="cache-sizes",
        title="What generation keeps in memory",
        caption=(
            f"Bytes held after so many tokens of one prompt of random tokens, mean of "
            f"{result.n_drawn}, up to each model's context; and what the architecture's formula "
            f"says. {bounds if result.bounds else ''}"
            f"{verdict if result.agree else ''}{left_out if result.left_out else ''}"
            + evidence(result, interval="95 % bootstrap intervals over the random prompts")
        ),
        panels=(
            _lines(
                measured,
                [series(measured.sel({MODEL: name}), name) for name in names],
                "measured",
                "bytes per token",
            ),
            _lines(
                result.formula_per_token,
                _by_formula(result.formula_per_token, names),
                "by formula",
                "bytes per token",
            ),
            _lines(result.formula, _by_formula(result.formula, names), "in all", "bytes"),
            _table(result, names),
        ),
        columns=2,
        provenance=provenance_of(result),
    )


def _lines(values: xr.DataArray, lines: list[Series], title: str, y_title: str) -> Lines:
    return Lines(
        x=values[LENGTH].values,
        series=tuple(replace(s, dashed=i >= len(SERIES)) for i, s in enumerate(lines)),
        title=title,
        x_title="tokens",
        y_title=y_title,
        x_scale="log",
        y_scale="log",  # architectures are orders of magnitude apart
        markers=True,
    )


def _by_formula(values: xr.DataArray, names: list[str]) -> list[Series]:
    """A line of each model; where there is no formula it is empty, and keeps the order's colour."""
    return [Series(label=name, values=values.sel({MODEL: name}).values) for name in names]


def _table(result: CacheSizes, names: list[str]) -> Table:
    """At the longest length at which a model and the first one were measured."""
    rows = []
    for name in names:
        both = result.relative.sel({MODEL: name}).dropna(LENGTH)
        at = int(both[LENGTH].values[-1])
        where = {MODEL: name, LENGTH: at}
        per_token = float(mean_of(result.per_token).sel(where))
        formula = float(result.formula_per_token.sel(where))
        rows.append(
            (
                name,
                f"{at}",
                f"{per_token:,.0f}",
                f"{formula:,.0f}" if name in result.agree else "–",
                f"{float(both[-1]):.2f}",
            )
        )
    return Table(
        columns=("model", "tokens", "measured", "formula", "times"),
        rows=tuple(rows),
        title=f"bytes per token, and the cache in times of {names[0]}",
    )
