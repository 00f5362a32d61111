"""Which entity states describe: shares, first layers, and every pair of layers."""

from mechbench.figures.evidence import evidence, provenance_of, series
from mechbench.figures.query_panels import NOT_ABSENT, by_layer, counted, groups_of, pair_grid
from mechbench.figures.spec import Bars, FigureSpec, Lines, Panel
from mechbench.results.entity_description import EntityDescription
from mechbench.results.query_groups import ENTITY, GROUP, SOURCE_LAYER, WHERE

_SHOWN = (("e2", "t1"), ("e2", "t2"), ("e3", "t2"))


def entity_description_figure(result: EntityDescription) -> FigureSpec:
    """Bars of shares with their control, lines of first layers, and a map for each reading."""
    where = [str(w) for w in result.share[WHERE].values]
    shown = [(entity, at) for entity, at in _SHOWN if at in where]
    shown = shown or [("e2", at) for at in where]
    panels: list[Panel] = [_shares(result, group) for group in groups_of(result.share)]
    panels += [_first(result, entity, at) for entity, at in shown]
    panels += [
        pair_grid(
            result.cells.sel({GROUP: group, WHERE: at, ENTITY: entity}, drop=True),
            f"{entity} from {at}, {group}",
            "share",
        )
        for group in groups_of(result.cells)
        for entity, at in shown
    ]
    read = {
        "sample": f"any of {result.n_samples} sampled continuations",
        "greedy": "the greedy continuation",
        "argmax": "the likeliest first token",
    }[result.method]
    return FigureSpec(
        name="entity-description",
        title="Entities that are decoded from states of two-hop queries",
        caption=(
            "The output of a block at a position of the query (source) replaces that of a block at "
            f"the placeholder of the target prompt {result.prompt!r} (target); an entity is "
            f"decoded where {read} names it. Shares are of queries with at least one such pair of "
            "layers; the control scores the same continuations against another query's entities. "
            f"Groups: {counted(result.counts)}. {NOT_ABSENT} " + evidence(result)
        ),
        panels=tuple(panels),
        columns=3,
        provenance=provenance_of(result),
    )


def _shares(result: EntityDescription, group: str) -> Bars:
    at = {GROUP: group}
    both = [
        (values.sel(at, drop=True).stack(reading=(WHERE, ENTITY)), label)
        for values, label in ((result.share, "own"), (result.control_share, "another query's"))
    ]
    readings = both[0][0]["reading"].values
    return Bars(
        groups=tuple(f"{entity} from {where}" for where, entity in readings),
        series=tuple(series(values, label) for values, label in both),
        title=f"decoded at any pair, {group}",
        y_title="share",
        y_limits=(0.0, 1.0),
    )


def _first(result: EntityDescription, entity: str, where: str) -> Lines:
    values = result.first_share.sel({ENTITY: entity, WHERE: where}, drop=True)
    return by_layer(
        values,
        None,
        SOURCE_LAYER,
        f"first layer, {entity} from {where}",
        "share of queries",
    )
