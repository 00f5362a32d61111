"""Which questions of two-hop queries a model answers, and the sets that follow."""

import numpy as np

from mechbench.figures.evidence import evidence, provenance_of, series
from mechbench.figures.spec import Bars, FigureSpec
from mechbench.results.hop_labels import (
    COMPOSITION,
    FIRST_HOP,
    KIND,
    LABEL,
    SET,
    HopLabels,
)


def hop_labels_figure(result: HopLabels) -> FigureSpec:
    """Bars of right answers by question, each kind of query by itself, and of the two sets."""
    names = {str(label): str(label).replace("_", " ") for label in result.right[LABEL].values}
    kinds = [str(kind) for kind in result.by_kind[KIND].values]
    shown = [
        series(result.by_kind.isel({KIND: i}, drop=True), kind or "queries")
        for i, kind in enumerate(kinds)
    ]
    about = (
        f"greedy text of at most {result.n_new} tokens, any name of the entity in it"
        if result.method == "generate"
        else "the likeliest first token begins a name of the entity"
    )
    counts = {str(s): int(np.sum(result.sets.values == s)) for s in result.share[SET].values}
    listed = ", ".join(f"{n} {name}" for name, n in counts.items())
    capped = "" if result.cap is None else f", at most {result.cap} of each {result.cap_by}"
    return FigureSpec(
        name="hop-labels",
        title="Two-hop queries: hops, compositions and shortcuts",
        caption=(
            f"Shares of right answers: {about}. The control counts answers that name the entity of "
            "another query. Correct: both hops and the composition right and no shortcut; "
            f"incorrect: the same but the composition wrong. Before a cap: {listed}{capped}. "
            + evidence(result)
        ),
        panels=(
            Bars(
                groups=tuple(names.values()),
                series=(*shown, series(result.control, "another query's")),
                title="right answers",
                y_title="share",
                y_limits=(0.0, 1.0),
            ),
            Bars(
                groups=tuple(counts),
                series=(series(result.share, "queries"),),
                title="sets",
                y_title="share",
                y_limits=(0.0, 1.0),
            ),
        ),
        columns=2,
        provenance=provenance_of(result),
    )


def label_rows(
    result: HopLabels, *, group: str | None = None
) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Names of columns, and a row for each query of a set (None: of all) with every answer.

    A sign stands before answers that name what is asked for.
    """
    labels = [str(label) for label in result.right[LABEL].values]
    columns = ("query", "prompt", "bridge", "answer", "set", "why")
    rows = []
    for i, name in enumerate(result.sets.values):
        if group not in (None, name):
            continue
        asked = result.wanted.isel(prompt=i)
        said = [
            f"{'✓ ' if bool(result.right.isel(prompt=i).sel({LABEL: label})) else ''}"
            f"{str(result.answers.isel(prompt=i).sel({LABEL: label}).item()).strip()}"
            for label in labels
        ]
        question = result.questions.isel(prompt=i).sel({LABEL: COMPOSITION}).item()
        names = (str(asked.sel({LABEL: label}).item()) for label in (FIRST_HOP, COMPOSITION))
        rows.append((str(i), str(question), *names, str(name), result.why(i), *said))
    return (*columns, *(label.replace("_", " ") for label in labels)), rows
