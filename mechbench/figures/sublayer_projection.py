"""What attention and MLPs write at the last token of two-hop queries, layer by layer."""

from mechbench.figures.evidence import evidence, provenance_of
from mechbench.figures.query_panels import NOT_ABSENT, by_layer, counted
from mechbench.figures.spec import FigureSpec
from mechbench.results.sublayer_projection import READING, SUBLAYER, SublayerProjection
from mechbench.shapes import LAYER


def sublayer_projection_figure(result: SublayerProjection) -> FigureSpec:
    """A panel for each sublayer and reading: shares over layers with their control."""
    panels = [
        by_layer(
            result.cells.sel({SUBLAYER: sublayer, READING: reading}, drop=True),
            result.control_cells.sel({SUBLAYER: sublayer, READING: reading}, drop=True),
            LAYER,
            f"{sublayer}: {reading}",
            "share ranked first",
            y_limits=(0.0, 1.0),
        )
        for sublayer in result.cells[SUBLAYER].values
        for reading in result.cells[READING].values
    ]
    return FigureSpec(
        name="sublayer-projection",
        title="What sublayers write at the last token of two-hop queries",
        caption=(
            "Outputs of attention and of MLPs at t2 through the final norm and the unembedding: "
            "the share of queries in which a token of e2, of e3 or the model's own prediction "
            "ranks first. The control asks for the tokens of another query. "
            f"Groups: {counted(result.counts)}. {NOT_ABSENT} " + evidence(result)
        ),
        panels=tuple(panels),
        columns=3,
        provenance=provenance_of(result),
    )
