"""One patch: the likeliest tokens and the attention of the three runs."""

from mechbench.figures.evidence import ESTIMATE, evidence, provenance_of, shares
from mechbench.figures.spec import FigureSpec, Heatmap, Table
from mechbench.figures.tokens import shown_token
from mechbench.results.patched_cell import KEY, QUERY, RANK, RUN, RUNS, PatchedCell


def patched_cell_figure(result: PatchedCell) -> FigureSpec:
    """A panel of attention for each run, where there is attention, and one of likeliest tokens."""
    mean, low, high = (float(result.change.sel({ESTIMATE: e})) for e in ("mean", "low", "high"))
    base = "clean" if result.direction == "noise" else "corrupted"
    levels = ", ".join(f"{run} {float(result.metric.sel({RUN: run}).mean()):.2f}" for run in RUNS)
    seen = (
        " The model forms no attention pattern in this layer."
        if result.pattern is None
        else f" Attention of head {result.attention_layer}.{result.attention_head} in prompt "
        f"{result.prompt}: rows look at columns."
    )
    patterns = () if result.pattern is None else tuple(_attention(result, run) for run in RUNS)
    return FigureSpec(
        name="patched-cell",
        title=f"{result.site} of layer {result.layer}, {result.place}",
        caption=(
            f"The patch changes the {result.metric_name.replace('_', ' ')} of the {base} run by "
            f"{mean:+.3f} [{low:+.3f}, {high:+.3f}] {result.change.attrs['units']} (means: "
            f"{levels}).{seen} Table: likeliest tokens after prompt {result.prompt}, at its first "
            "answer's position. " + evidence(result)
        ),
        panels=(*patterns, _top(result)),
        columns=max(len(patterns), 1),
        provenance=provenance_of(result),
    )


def _attention(result: PatchedCell, run: str) -> Heatmap:
    assert result.pattern is not None
    values = result.pattern.sel({RUN: run}).transpose(QUERY, KEY)
    labels = tuple(shown_token(t) for t in result.tokens.sel({RUN: run}).values)
    return Heatmap(
        values=values.values,
        rows=labels,
        cols=labels,
        title=run,
        x_title="attended",
        y_title="from",
        value_title="attention",
        colour=shares(),
    )


def _top(result: PatchedCell) -> Table:
    rows = []
    for rank in result.top_token[RANK].values:
        row = [str(int(rank))]
        for run in RUNS:
            at = {RUN: run, RANK: rank}
            token = shown_token(str(result.top_token.sel(at).item()))
            prob, logit = float(result.top_prob.sel(at)), float(result.top_logit.sel(at))
            row.append(f"{token}  {prob:.3f} ({logit:+.2f})")
        rows.append(tuple(row))
    return Table(columns=("rank", *RUNS), rows=tuple(rows), title="token, probability (logit)")
