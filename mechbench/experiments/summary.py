"""The few numbers and tables that say what a run found, for the terminal and the report."""

from collections.abc import Mapping

from mechbench.experiments.estimates import with_interval
from mechbench.experiments.tables import TextTable
from mechbench.results.base import Result
from mechbench.results.circuit_search import ALL_LETTERS, DIRECT, EFFECT_WORD, CircuitSearch
from mechbench.shapes import ANSWER, HEAD, LAYER


def summary_tables(results: Mapping[str, Result]) -> list[TextTable]:
    """A table of heads for each circuit that was found."""
    return [_circuit_table(r) for r in results.values() if isinstance(r, CircuitSearch)]


def headline(results: Mapping[str, Result]) -> list[str]:
    """A sentence for each test of a circuit, with its interval and its control."""
    found = [r for r in results.values() if isinstance(r, CircuitSearch)]
    return [line for result in found for line in _tests_of(result)]


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
