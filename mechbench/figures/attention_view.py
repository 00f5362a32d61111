"""Attention of the heads of a layer in one prompt, a map for each head."""

from mechbench.figures.evidence import evidence, provenance_of, shares
from mechbench.figures.spec import FigureSpec, Heatmap
from mechbench.figures.tokens import shown_token
from mechbench.results.attention_view import KEY, QUERY, AttentionView
from mechbench.shapes import HEAD


def attention_view_figure(
    result: AttentionView, *, heads: tuple[str, ...] | None = None, columns: int = 2
) -> FigureSpec:
    """One panel for each of ``heads``, by default all of the layer."""
    shown = result.heads if heads is None else heads
    return FigureSpec(
        name="attention-view",
        title=f"Attention in layer {result.layer}",
        caption=(
            f"Attention weights of head{'s' if len(shown) > 1 else ''} {', '.join(shown)} in the "
            f"{result.run} prompt {result.prompt}: a row looks at the columns, and its weights sum "
            "to 1. " + evidence(result, interval="no interval, for one prompt is shown")
        ),
        panels=tuple(_pattern(result, head) for head in shown),
        columns=min(columns, len(shown)),
        provenance=provenance_of(result),
    )


def _pattern(result: AttentionView, head: str) -> Heatmap:
    labels = tuple(shown_token(t) for t in result.tokens.values)
    return Heatmap(
        values=result.pattern.sel({HEAD: head}).transpose(QUERY, KEY).values,
        rows=labels,
        cols=labels,
        title=head,
        x_title="attended",
        y_title="from",
        value_title="attention",
        colour=shares(),
    )
