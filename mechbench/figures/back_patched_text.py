"""What a model says with one pair of layers patched, and what it says with the controls."""

from mechbench.figures.evidence import evidence, provenance_of, series
from mechbench.figures.spec import Bars, FigureSpec, Table
from mechbench.results.back_patched_text import NAMED, QUERY, RUN, RUNS, WHAT, BackPatchedText

_LONGEST = 48
RIGHT, BRIDGE_SAID = "✓", "(bridge)"


def back_patched_text_figure(result: BackPatchedText) -> FigureSpec:
    """A table of texts by query and run, and bars of how many name what."""
    n = result.texts.sizes[QUERY]
    said = (
        "the likeliest first token"
        if result.method == "argmax"
        else f"text of at most {result.n_new} tokens"
    )
    how = "greedy" if result.temperature == 0 else f"sampled at temperature {result.temperature:g}"
    return FigureSpec(
        name="back-patched-text",
        title=f"Layer {result.source_layer} written into layer {result.target_layer} at "
        f"{result.position}: what the model says",
        caption=(
            f"Continuations ({said}, {how}) of {n} queries, numbered as in the task: unpatched; "
            f"with the output of block {result.target_layer} at {result.position} overwritten by "
            f"that of block {result.source_layer} (patched), by that of another query's prompt, "
            "and by noise as long as the change; and with the two layers exchanged (reversed). "
            f"{RIGHT} before a text: it names the answer; {BRIDGE_SAID} behind it: it names the "
            "bridge. Bars count these queries alone, also those whose text names the other query's "
            "answer. " + evidence(result)
        ),
        panels=(
            _table(result),
            Bars(
                groups=RUNS,
                series=tuple(
                    series(result.share.sel({NAMED: what}, drop=True), f"names the {what}")
                    for what in WHAT
                ),
                title=f"{n} {'query' if n == 1 else 'queries'}",
                y_title="share",
                y_limits=(0.0, 1.0),
            ),
        ),
        provenance=provenance_of(result),
    )


def _table(result: BackPatchedText) -> Table:
    columns, rows = text_rows(result, longest=_LONGEST)
    return Table(columns=columns, rows=rows)


def text_rows(
    result: BackPatchedText, *, longest: int = 400
) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """Names of columns, and a row of texts for each query, with signs for what they name."""
    n = result.texts.sizes[QUERY]
    columns = ("query", "prompt", "answer", "bridge", *RUNS)
    return columns, tuple(_row(result, i, longest) for i in range(n))


def _row(result: BackPatchedText, i: int, longest: int) -> tuple[str, ...]:
    said = []
    for run in RUNS:
        at = {RUN: run}
        answer, bridge = (
            bool(result.named.sel({**at, NAMED: what})[i]) for what in ("answer", "bridge")
        )
        text = str(result.texts.sel(at)[i].item()).replace("\n", " ").strip()
        text = text if len(text) <= longest else text[: longest - 1] + "…"
        said.append(f"{RIGHT} " * answer + text + f" {BRIDGE_SAID}" * bridge)
    number = str(int(result.texts[QUERY].values[i]))
    return number, result.questions[i], result.answers[i], result.bridges[i], *said
