"""What a paper reports about anchored answers, beside what is measured here."""

import numpy as np

from mechbench.experiments.estimates import with_interval
from mechbench.experiments.tables import TextTable
from mechbench.results.compare_choices import COLUMN, ROW, CompareChoices

_TRY = (
    "To test it where its weights can be loaded: mechbench run mcq_gpt2 --model {name}; with ARC "
    "or CommonsenseQA at hand add --set task.name=choices_file and the file (README)."
)
_NAMES = {
    "GPT-2 small": "gpt2",
    "GPT-2 medium": "gpt2-medium",
    "GPT-2 large": "gpt2-large",
    "GPT-2 XL": "gpt2-xl",
}


def choices_text(result: CompareChoices) -> tuple[str, ...]:
    """Paragraphs about the source, the evidence and what the numbers are about."""
    tags = "; ".join(f"{tag}: {meaning}" for tag, meaning in result.tag_meanings.items())
    loose = "; ".join(f"{what}: {value:.3g}" for what, value in result.unassigned.items())
    return (
        result.source,
        f"Evidence of the published numbers. {tags}.",
        f"Published without a stated model. {loose}.",
        result.statement,
    )


def choices_tables(result: CompareChoices) -> tuple[TextTable, ...]:
    """What is published for every model, and beside what is measured where it is this one."""
    everywhere = TextTable(
        ("published", *(str(c) for c in result.published_everywhere[COLUMN].values)),
        tuple(
            (str(label), *(_share(float(v)) for v in row.values))
            for label, row in zip(
                result.published_everywhere[ROW].values, result.published_everywhere, strict=True
            )
        ),
        title="Anchored answers, as published (shares of prompts)",
    )
    if not result.comparable:
        return (everywhere,)
    beside = TextTable(
        ("number", "published", "measured here", "n", "status"),
        tuple(
            (
                str(label),
                f"{_share(float(result.published.isel({ROW: i})))} ({result.tags[i]})",
                "" if label in result.reasons else with_interval(result.here.isel({ROW: i}), 3),
                str(result.n[i] or ""),
                result.status[i],
            )
            for i, label in enumerate(str(r) for r in result.published[ROW].values)
        ),
        title=f"{result.published_model}: published and measured",
        note=(
            f"Edited value vector, published: {result.edited_published or 'not found'}; found "
            f"here: {', '.join(result.found) or 'none'}."
        ),
    )
    return beside, everywhere


def choices_untested(result: CompareChoices) -> tuple[str, ...]:
    """What stays untested, with the reason, and how to test it."""
    name = _NAMES.get(result.published_model, "NAME")
    if not result.comparable:
        return (
            f"Nothing on this page was measured on {result.published_model}: every statement about "
            f"it is published, or untested here. {_TRY.format(name=name)}",
        )
    left = tuple(f"Untested here: {label}: {why}." for label, why in result.reasons.items())
    return (*left, "Other models, sets and prompts are untested here.")


def _share(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.3f}"
