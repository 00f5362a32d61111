"""What the page Circuit shows below its graph: the exact test, files and figures."""

from functools import partial

import streamlit as st

from apps.common.figures import show_figure
from apps.common.text import plain, three_digits
from apps.parts.circuit import Shown, measured, prompts_of
from apps.parts.circuit_files import eap_ig_text
from mechbench.errors import MechbenchError
from mechbench.experiments.spec import ExperimentSpec
from mechbench.figures.circuit_curve import circuit_curve_figure
from mechbench.figures.circuit_faithfulness import circuit_faithfulness_figure, rule_in_words
from mechbench.graphs.annotations import Annotations
from mechbench.results.circuit_faithfulness import CircuitFaithfulness
from mechbench.results.run import Run

_NULLS = {
    "uniform": "As many edges, drawn evenly from all. Few of those lie on a path, so this is "
    "easily beaten.",
    "matched": "As many edges of every kind and layer pair as the circuit has: does the choice "
    "within a class matter?",
}


def show_exact(test: ExperimentSpec, run: Run | None) -> CircuitFaithfulness | None:
    """What was measured of exactly the shown circuit; None, and why, where it cannot be."""
    try:
        result = measured(test, run)
    except MechbenchError as error:
        st.error(plain(str(error)))
        return None
    columns = st.columns(4)
    shares = {"Faithfulness": result.faithfulness, "All but the circuit": result.complement}
    for column, (label, share) in zip(columns, shares.items(), strict=False):
        mean, low, high = (three_digits(value) for value in share.values)
        column.metric(label, mean, help="1 is the whole model, 0 no edge intact.")
        column.caption(plain(f"95 % interval {low} to {high}"))
    for column, null in zip(columns[2:], result.random_summary["null"].values, strict=True):
        mean, low, high = map(three_digits, result.random_summary.sel(null=null).values)
        column.metric(f"Random, {null}", mean, help=_NULLS[str(null)])
        p = float(result.p_value.sel(null=null))
        n = result.random.sizes["draw"]
        column.caption(plain(f"{n} from {low} to {high}; p = {p:.3g}"))
    st.caption(
        plain(
            f"{len(result.edges):,} of {result.n_graph_edges:,} edges. {rule_in_words(result)} "
            f"Faithfulness of the mean {result.metric}, all other edges ablated "
            f"({result.ablation}); {prompts_of(test.task, result)}."
        )
    )
    return result


def show_files(shown: Shown, threshold: float, prune: bool, notes: Annotations) -> None:
    """Buttons that save the shown circuit."""
    columns = st.columns(4)
    circuit = partial(shown.circuit, threshold, prune, notes)
    columns[0].download_button(
        "Save as JSON",
        data=lambda: circuit().to_json(),
        file_name="circuit.json",
        mime="application/json",
        on_click="ignore",
        help="The shown edges with scores, rule and notes, as mechbench reads them: circuit_tests, "
        "circuit_agreement, or Load a circuit above.",
    )
    scores = shown.scores
    if scores is not None and shown.is_plain:
        columns[1].download_button(
            "Save for EAP-IG",
            data=lambda: eap_ig_text(circuit(), scores),
            file_name="circuit.eap-ig.json",
            mime="application/json",
            on_click="ignore",
            help="A graph file of EAP-IG (Hanna et al. 2024), with all scores and without notes.",
        )


def show_figures(shown: Shown, result: CircuitFaithfulness | None, notes: Annotations) -> None:
    """Figures for a paper, where they are asked for."""
    if st.toggle("Show figures", help="Of this circuit, and of the curve, with their downloads."):
        if result is not None:
            figure = circuit_faithfulness_figure(
                result, labels=notes.labels, roles={**result.roles, **notes.roles}
            )
            show_figure(figure, "exact-circuit")
        if shown.curve is not None:
            show_figure(circuit_curve_figure(shown.curve), "circuit-curve")
