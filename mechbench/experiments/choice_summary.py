"""What a run found about anchored answers, in a few sentences and tables."""

from collections.abc import Callable
from typing import Any

from mechbench.experiments.estimates import number, with_interval
from mechbench.experiments.tables import TextTable
from mechbench.results.anchored_bias import AnchoredBias
from mechbench.results.attention_recalibration import (
    HEADS,
    LABELS_SWAPPED,
    RANDOM_HEADS,
    SWAP,
    AttentionRecalibration,
)
from mechbench.results.choices import (
    ACCURACY,
    ALL,
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
    OFFERED,
    RANDOM_NEURON,
    RIGHT_LABEL,
    SET,
)
from mechbench.results.edit_side_effects import (
    OTHER_TASK,
    PERPLEXITY,
    TASK_ACCURACY,
    EditSideEffects,
)
from mechbench.results.edited_choices import CHOSEN, EditedChoices
from mechbench.results.label_free_debiasing import METHOD, LabelFreeDebiasing
from mechbench.results.value_vector_update import EDITED, TOGETHER, ValueVectorUpdate
from mechbench.results.value_vectors import RANK, ValueVectors
from mechbench.shapes import NEURON


def bias_lines(result: AnchoredBias) -> list[str]:
    """The anchored rate by both argmaxes, and what other labels leave of it."""
    rates = result.rates.sel({MEASURE: ANCHORED, SET: ALL})
    own, n = rates.sel({LABELS: result.own[0]}), int(result.n.sel({ITEMS: NOT_FIRST, SET: ALL}))
    line = (
        f"Anchored rate: {with_interval(own.sel({ARGMAX: ANY_TOKEN}))} of {n} prompts whose right "
        f"option is a later one (among the offered labels "
        f"{with_interval(own.sel({ARGMAX: OFFERED}))}; one at random "
        f"{number(result.chance.sel({SET: ALL}))})."
    )
    others = [f for f in rates[LABELS].values if f != result.own[0]]
    under = ", ".join(
        f"{f}, ...: {with_interval(rates.sel({LABELS: f, ARGMAX: OFFERED}))}" for f in others
    )
    return [
        line,
        *([f"The same under other labels, among those offered: {under}."] if under else []),
    ]


def update_lines(result: ValueVectorUpdate) -> list[str]:
    """Failing prompts under the edit and its controls, and prompts whose right option is first."""
    rates = result.rates.sel({ARGMAX: ANY_TOKEN, EDITED: TOGETHER})
    failing = rates.sel({MEASURE: ACCURACY, ITEMS: FAILING})
    parts = ", ".join(
        f"{edit} {with_interval(failing.sel({EDIT: edit}))}"
        for edit in (RIGHT_LABEL, NOTHING_ADDED, RANDOM_NEURON)
    )
    fixed = [str(e) for e in failing[EDIT].values if str(e).startswith("always")]
    always = ", ".join(f"{e} {with_interval(failing.sel({EDIT: e}))}" for e in fixed)
    first = rates.sel({MEASURE: ACCURACY, ITEMS: GOLD_FIRST})
    still = rates.sel({MEASURE: ANSWERED_FIRST, ITEMS: FAILING, EDIT: NOTHING_ADDED})
    restored = "were restored bit for bit" if result.restored else "WERE NOT RESTORED"
    lines = [
        f"Value vectors {', '.join(result.neurons)} edited together, accuracy of "
        f"{int(result.n.sel({ITEMS: FAILING}))} failing prompts: {parts}; {always}. "
        f"{result.statement}",
        f"With the first label taken out and nothing added {with_interval(still)} of them still "
        f"answer it. Weights {restored}.",
    ]
    if n_first := int(result.n.sel({ITEMS: GOLD_FIRST})):
        before, after = (first.sel({EDIT: edit}) for edit in (NO_EDIT, NOTHING_ADDED))
        lines.append(
            f"Accuracy where the first option is right ({n_first} prompts): "
            f"{with_interval(before)} before, {with_interval(after)} with nothing added."
        )
    return lines


def edit_lines(result: EditedChoices) -> list[str]:
    """Accuracy and anchored rate before and after the edit, beside random neurons."""
    told = ", which is told each prompt's answer" if result.uses_right_label else ""
    restored = "were restored bit for bit" if result.restored else "WERE NOT RESTORED"
    parts = []
    for name, measure, items in (
        ("accuracy", ACCURACY, ALL),
        ("anchored rate", ANSWERED_FIRST, NOT_FIRST),
    ):
        at = {MEASURE: measure, ARGMAX: ANY_TOKEN, ITEMS: items}
        if (n := int(result.n.sel({ITEMS: items}))) > 1:  # one prompt has no interval
            rates, change = result.rates.sel(at), result.change.sel(at)
            parts.append(
                f"{name} of {n} prompts {with_interval(rates.sel({EDIT: NO_EDIT}))} before and "
                f"{with_interval(rates.sel({EDIT: CHOSEN}))} after (change "
                f"{with_interval(change.sel({EDIT: CHOSEN}))}; on random neurons "
                f"{with_interval(change.sel({EDIT: RANDOM_NEURON}))})"
            )
    return [
        f"Value vectors {', '.join(result.neurons)} edited towards {result.target!r}{told}: "
        f"{', '.join(parts)}. Weights {restored}."
    ]


def attention_lines(result: AttentionRecalibration) -> list[str]:
    """Failing prompts with the most heads swapped, beside random heads."""
    rates = result.rates.sel({MEASURE: ACCURACY, ARGMAX: ANY_TOKEN, ITEMS: FAILING})
    last = rates.isel({HEADS: -1})
    return [
        f"Attention to first and right label exchanged in {int(last[HEADS])} heads, accuracy of "
        f"{int(result.n.sel({ITEMS: FAILING}))} failing test prompts: "
        f"{with_interval(last.sel({SWAP: LABELS_SWAPPED}))}; in random heads "
        f"{with_interval(last.sel({SWAP: RANDOM_HEADS}))}. {result.statement}"
    ]


def side_effect_lines(result: EditSideEffects) -> list[str]:
    """Perplexity and other tasks before and after the edit that adds nothing."""
    text = result.text.sel({MEASURE: PERPLEXITY})
    line = (
        f"Perplexity of {result.n_texts} {result.text_source}: "
        f"{with_interval(text.sel({EDIT: NO_EDIT}))} before, "
        f"{with_interval(text.sel({EDIT: NOTHING_ADDED}))} with λ2 = 0"
    )
    if result.tasks is not None:
        accuracy = result.tasks.sel({MEASURE: TASK_ACCURACY})
        for name in (str(n) for n in accuracy[OTHER_TASK].values):
            own = accuracy.sel({OTHER_TASK: name})
            line += (
                f"; accuracy on {name} {with_interval(own.sel({EDIT: NO_EDIT}))} and "
                f"{with_interval(own.sel({EDIT: NOTHING_ADDED}))}"
            )
    return [line + "."]


def neuron_table(result: ValueVectors) -> TextTable:
    """The neurons that were found, with what they promote."""
    rows = tuple(
        (
            neuron,
            with_interval(result.kept.sel({NEURON: neuron})),
            with_interval(result.lens.sel({NEURON: neuron})),
            with_interval(result.direct.sel({NEURON: neuron})),
            " ".join(str(t).strip() for t in result.promoted.sel({NEURON: neuron}).values[:5]),
        )
        for neuron in result.neurons
        if neuron in result.promoted[NEURON].values
    )
    return TextTable(
        ("neuron", "kept", "lens gap (logits)", "direct gap (logits)", "promoted tokens"),
        rows,
        title=f"Value vectors that say the first label: {len(result.neurons)} found",
        note=(
            f"Kept: share of {result.n_items} {result.items} prompts in which the neuron is among "
            f"the {result.k} largest of its layer with a lens gap above {result.threshold:g}. "
            f"Promoted: the first 5 of {result.promoted.sizes[RANK]}."
        ),
    )


def debiasing_table(result: LabelFreeDebiasing) -> TextTable:
    """Accuracy on the test prompts without right labels, beside the edit that is told them."""
    rates = result.rates.sel({MEASURE: ACCURACY, ARGMAX: ANY_TOKEN})
    items = [str(i) for i in rates[ITEMS].values]
    rows = tuple(
        (
            f"{method}{' (told the right label)' if result.uses_right_label[method] else ''}",
            *(with_interval(rates.sel({METHOD: method, ITEMS: i})) for i in items),
        )
        for method in (str(m) for m in rates[METHOD].values)
    )
    counts = ", ".join(f"{i} {int(result.n.sel({ITEMS: i}))}" for i in items)
    return TextTable(
        ("method", *items),
        rows,
        title="Accuracy on test prompts, likeliest token of the vocabulary",
        note=f"Prompts: {counts}. {result.statement}",
    )


CHOICE_TABLES: dict[type, Callable[[Any], TextTable]] = {
    ValueVectors: neuron_table,
    LabelFreeDebiasing: debiasing_table,
}
CHOICE_HEADLINES: dict[type, Callable[[Any], list[str]]] = {
    AnchoredBias: bias_lines,
    ValueVectorUpdate: update_lines,
    EditedChoices: edit_lines,
    AttentionRecalibration: attention_lines,
    EditSideEffects: side_effect_lines,
}
