"""What a run found, as the rows that a model card shows.

``python -m mechbench.experiments.card_measures RUN [RUN ...] --out FILE.json --command TEXT`` reads
the results of finished runs and writes the file that ``mechbench.training.export --measured``
takes: a JSON list of ``{what, value, low, high, n, command}``.
"""

import argparse
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from mechbench.experiments.saved import saved_results
from mechbench.results import back_patching as pairs
from mechbench.results.anchored_bias import ACCURACY_FIRST, ACCURACY_LATER, AnchoredBias
from mechbench.results.attention_recalibration import HEADS, SWAP, AttentionRecalibration
from mechbench.results.back_patching import BackPatching
from mechbench.results.base import Result
from mechbench.results.choices import (
    ACCURACY,
    ANCHORED,
    ANSWERED_FIRST,
    ANY_TOKEN,
    ARGMAX,
    EDIT,
    FAILING,
    GOLD_FIRST,
    ITEMS,
    LABELS,
    MEASURE,
    NO_EDIT,
    NOT_FIRST,
    NOTHING_ADDED,
    RANDOM_NEURON,
    RIGHT_LABEL,
    SET,
)
from mechbench.results.files import write_atomically
from mechbench.results.label_free_debiasing import METHOD, LabelFreeDebiasing
from mechbench.results.run import open_run
from mechbench.results.value_vector_update import EDITED, TOGETHER, ValueVectorUpdate
from mechbench.results.value_vectors import ValueVectors
from mechbench.shapes import NEURON, POSITION


@dataclass(frozen=True)
class CardMeasure:
    """A number with its interval, and on how many prompts it was measured."""

    what: str
    value: float
    low: float | None
    high: float | None
    n: int


def card_measures(results: Mapping[str, Result], command: str) -> list[dict[str, Any]]:
    """The rows of all results that a card has something to say about, in their order.

    Numbers that were not measured (no prompts of a kind) are left out.

    Args:
        results: by step, as ``saved_results`` gives them.
        command: with which a reader measures them again.
    """
    rows: list[dict[str, Any]] = []
    for result in results.values():
        for kind, extract in MEASURES.items():
            if isinstance(result, kind):
                found = [m for m in extract(result) if np.isfinite(m.value)]
                rows += [{**asdict(measure), "command": command} for measure in found]
    return rows


def measured(what: str, estimate: xr.DataArray, n: int) -> CardMeasure:
    """A row of an array whose only axis is ``estimate``; without an interval that is not a number.

    ``what`` must not hold a vertical bar, which ends the cell of a table.
    """
    assert "|" not in what, what
    value, low, high = (float(estimate.sel(estimate=name)) for name in ("mean", "low", "high"))
    if not np.isfinite([low, high]).all():
        return CardMeasure(what, value, None, None, n)
    return CardMeasure(what, value, low, high, n)


def _anchored_bias(result: AnchoredBias) -> list[CardMeasure]:
    rates = result.rates.sel({LABELS: result.own[0]}).isel({SET: 0})
    n = result.n.isel({SET: 0})
    measures = {ANCHORED: NOT_FIRST, ACCURACY_FIRST: GOLD_FIRST, ACCURACY_LATER: NOT_FIRST}
    return [
        measured(
            f"{'anchored rate' if measure == ANCHORED else measure}, by {argmax}",
            rates.sel({MEASURE: measure, ARGMAX: argmax}),
            int(n.sel({ITEMS: items})),
        )
        for measure, items in measures.items()
        for argmax in (str(a) for a in rates[ARGMAX].values)
    ]


_PAIR_ROWS = (
    (pairs.INCORRECT, pairs.ANY_CELL, (pairs.BACK, pairs.OTHER_STATE, pairs.NOISE_STATE)),
    (pairs.INCORRECT, pairs.FIXED_CELL, (pairs.BACK, pairs.OTHER_STATE, pairs.NOISE_STATE)),
    (pairs.CORRECT, pairs.FIXED_CELL, (pairs.BACK,)),
)
"""Of back-patching: set, rate, and the measures that a card shows of it."""


def _back_patching(result: BackPatching) -> list[CardMeasure]:
    rule = str(result.rates[pairs.RULE].values[0])  # the first token, which all methods score
    rows = []
    for place in (str(p) for p in result.rates[POSITION].values):
        at = {pairs.RULE: rule, POSITION: place}
        cell = result.fixed_cells.sel({**at, pairs.MEASURE: pairs.BACK}).values.tolist()
        names = {pairs.ANY_CELL: "any cell", pairs.FIXED_CELL: f"fixed cell {cell[0]} to {cell[1]}"}
        for name, rate, measures in _PAIR_ROWS:
            halved = name == pairs.INCORRECT and rate == pairs.FIXED_CELL
            n = result.n_scored if halved else result.n_run(name)
            for measure in measures:
                where = {**at, pairs.SET: name, pairs.RATE: rate, pairs.MEASURE: measure}
                what = f"back-patching at {place}, {name} set, {names[rate]}: {measure}"
                rows.append(measured(what, result.rates.sel(where), n))
    return rows


def _value_vectors(result: ValueVectors) -> list[CardMeasure]:
    return [
        measured(f"{what} of neuron {neuron}", values.sel({NEURON: neuron}), result.n_items)
        for neuron in result.neurons[:_MOST]
        if neuron in result.kept[NEURON].values
        for what, values in (("direct gap (logits)", result.direct), ("share kept", result.kept))
    ]


def _update(result: ValueVectorUpdate) -> list[CardMeasure]:
    rates = result.rates.sel({ARGMAX: ANY_TOKEN, EDITED: TOGETHER})
    failing, first = (int(result.n.sel({ITEMS: items})) for items in (FAILING, GOLD_FIRST))
    accuracy = rates.sel({MEASURE: ACCURACY})
    edited = f"edit of {len(result.neurons)} value vectors"
    fixed = [str(e) for e in rates[EDIT].values if str(e).startswith("always")]
    rows = [
        measured(
            f"accuracy on failing prompts, {edited}: {edit}",
            accuracy.sel({EDIT: edit, ITEMS: FAILING}),
            failing,
        )
        for edit in (RIGHT_LABEL, NOTHING_ADDED, RANDOM_NEURON, *fixed)
    ]
    anchored = rates.sel({MEASURE: ANSWERED_FIRST, EDIT: NOTHING_ADDED, ITEMS: FAILING})
    rows.append(
        measured(
            f"failing prompts that still answer the first label, {edited}: λ2 = 0",
            anchored,
            failing,
        )
    )
    rows += [
        measured(
            f"accuracy where the first option is right, {edited}: {edit}",
            accuracy.sel({EDIT: edit, ITEMS: GOLD_FIRST}),
            first,
        )
        for edit in (NO_EDIT, NOTHING_ADDED)
    ]
    return rows


def _attention(result: AttentionRecalibration) -> list[CardMeasure]:
    rates = result.rates.sel({MEASURE: ACCURACY, ARGMAX: ANY_TOKEN, ITEMS: FAILING})
    last = rates.isel({HEADS: -1})
    n = int(result.n.sel({ITEMS: FAILING}))
    return [
        measured(
            f"accuracy on failing prompts, attention swapped in {int(last[HEADS])} heads: {swap}",
            last.sel({SWAP: swap}),
            n,
        )
        for swap in (str(s) for s in last[SWAP].values)
    ]


def _label_free(result: LabelFreeDebiasing) -> list[CardMeasure]:
    rates = result.rates.sel({MEASURE: ACCURACY, ARGMAX: ANY_TOKEN, ITEMS: NOT_FIRST})
    n = int(result.n.sel({ITEMS: NOT_FIRST}))
    return [
        measured(
            f"accuracy where a later option is right: {method}", rates.sel({METHOD: method}), n
        )
        for method in (str(m) for m in rates[METHOD].values)
    ]


_MOST = 4
MEASURES: dict[type[Result], Callable[[Any], list[CardMeasure]]] = {
    AnchoredBias: _anchored_bias,
    ValueVectors: _value_vectors,
    ValueVectorUpdate: _update,
    AttentionRecalibration: _attention,
    LabelFreeDebiasing: _label_free,
    BackPatching: _back_patching,
}
"""Of each type of result, what a card says of it; one line per type."""


def main() -> None:
    """The command line of this module."""
    parser = argparse.ArgumentParser(prog="python -m mechbench.experiments.card_measures")
    parser.add_argument("runs", nargs="+", type=Path, help="folders of finished runs")
    parser.add_argument("--out", required=True, type=Path, help="the JSON file to write")
    parser.add_argument("--command", required=True, help="that measures the numbers again")
    given = parser.parse_args()
    rows = [
        row
        for folder in given.runs
        for row in card_measures(saved_results(open_run(folder)), given.command)
    ]
    write_atomically(given.out, json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
