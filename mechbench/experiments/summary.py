"""The few numbers and tables that say what a run found, for the terminal and the report."""

from collections.abc import Callable, Mapping
from typing import Any

from mechbench.experiments.back_patching_summary import back_patching_lines
from mechbench.experiments.choice_summary import CHOICE_HEADLINES, CHOICE_TABLES
from mechbench.experiments.edge_circuit_summary import (
    agreement_lines,
    curve_line,
    edge_table,
    lines_of_tests,
    score_line,
)
from mechbench.experiments.estimates import with_interval
from mechbench.experiments.tables import TextTable
from mechbench.results.back_patching import BackPatching
from mechbench.results.base import Result
from mechbench.results.circuit_agreement import CircuitAgreement
from mechbench.results.circuit_curve import CircuitCurve
from mechbench.results.circuit_search import ALL_LETTERS, DIRECT, EFFECT_WORD, CircuitSearch
from mechbench.results.circuit_tests import CircuitTests
from mechbench.results.edge_scores import EdgeScores
from mechbench.shapes import ANSWER, HEAD, LAYER


def summary_tables(results: Mapping[str, Result]) -> list[TextTable]:
    """A table for each circuit that was found, of its heads or its strongest edges."""
    return [_TABLES[kind](r) for r in _telling(results) for kind in _kinds(r, _TABLES)]


def headline(results: Mapping[str, Result]) -> list[str]:
    """A sentence for each score and test of a circuit, with its interval and its control."""
    return [
        line
        for result in _telling(results)
        for kind in _kinds(result, _HEADLINES)
        for line in _HEADLINES[kind](result)
    ]


def _telling(results: Mapping[str, Result]) -> list[Result]:
    """All but tests of a circuit that was tested on held-out prompts as well."""
    tests = [r for r in results.values() if isinstance(r, CircuitTests)]
    held_out = {frozenset(r.edges) for r in tests if r.held_out}

    def again(result: Result) -> bool:
        if not isinstance(result, CircuitTests) or result.held_out:
            return False
        return frozenset(result.edges) in held_out

    return [result for result in results.values() if not again(result)]


def _kinds(result: Result, table: Mapping[type, Any]) -> list[type]:
    return [kind for kind in table if isinstance(result, kind)]


def _circuit_table(result: CircuitSearch) -> TextTable:
    rows = []
    for head in result.heads:
        layer, index = (int(part) for part in head.split("."))
        of_head = result.features.sel({LAYER: layer, HEAD: index})
        lost = result.minimality.sel({"removed": head, ANSWER: ALL_LETTERS})
        rows.append(
            (
                head,
                result.roles[head],
                f"{float(of_head.sel(feature=EFFECT_WORD)):.2f}",
                f"{float(of_head.sel(feature=DIRECT)):.2f}",
                with_interval(lost),
            )
        )
    n_heads = result.features.sizes[LAYER] * result.features.sizes[HEAD]
    return TextTable(
        ("head", "group", "effect (logits)", "direct (logits)", "share lost without it"),
        tuple(rows),
        title=f"Circuit: {len(result.heads)} of {n_heads} heads",
        note=(
            "Effect: change of the logit difference when the head reads the corrupted current "
            "word, mean over letters. Direct: what the head adds to it without later layers. Share "
            f"lost: of the logit difference, on {result.n_test} prompts that the search did not "
            "see, with a 95 % bootstrap interval."
        ),
    )


def _tests_of(result: CircuitSearch) -> list[str]:
    at = {ANSWER: ALL_LETTERS}
    lines = []
    for name, values, drawn, ideal in (
        ("Faithfulness", result.faithfulness, result.random_faithfulness, "1 is the whole model"),
        ("Completeness", result.completeness, result.random_completeness, "0 is complete"),
    ):
        random = drawn.sel(at)
        low, high = (float(random.quantile(q)) for q in (0.025, 0.975))
        p = float(result.p_value.sel({"test": name.lower(), **at}))
        lines.append(
            f"{name} ({ideal}): {with_interval(values.sel(at))} on {result.n_test} held-out "
            f"prompts; {random.sizes['draw']} random sets of {len(result.heads)} heads: "
            f"{float(random.mean()):.2f} [{low:.2f}, {high:.2f}], p = {p:.3f}."
        )
    if not result.reached:
        lines.append(
            f"The search did not reach its target of {result.target_share:.0%} of the logit "
            "difference on every letter: what it found is not the whole circuit."
        )
    return lines


_TABLES: dict[type, Callable[[Any], TextTable]] = {
    CircuitSearch: _circuit_table,
    CircuitTests: edge_table,
    **CHOICE_TABLES,
}
_HEADLINES: dict[type, Callable[[Any], list[str]]] = {
    CircuitSearch: _tests_of,
    EdgeScores: lambda result: [score_line(result)],
    CircuitTests: lines_of_tests,
    CircuitCurve: lambda result: [curve_line(result)],
    CircuitAgreement: agreement_lines,
    BackPatching: back_patching_lines,
    **CHOICE_HEADLINES,
}
