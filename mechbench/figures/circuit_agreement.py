"""Two circuits: what they share, and recall of one in the ranking of the other."""

from mechbench.figures.evidence import evidence, provenance_of
from mechbench.figures.spec import Bars, FigureSpec, Lines, Panel, Series, Table
from mechbench.results.circuit_agreement import BY_CHANCE, FOUND, CircuitAgreement

_MOST_ROWS = 20


def circuit_agreement_figure(result: CircuitAgreement) -> FigureSpec:
    """Intersection over union beside chance, recall where there is a ranking, and the members."""
    panels: list[Panel] = [
        Bars(
            groups=result.levels,
            series=tuple(
                Series(label=kind, values=result.iou.sel(kind=kind).values)
                for kind in (FOUND, BY_CHANCE)
            ),
            title="intersection over union",
            y_title="share",
            y_limits=(0.0, 1.0),
        )
    ]
    if result.recall is not None:
        panels.append(
            Lines(
                x=result.recall["k"].values,
                series=(
                    Series(label=FOUND, values=result.recall.sel(kind=FOUND).values),
                    Series(
                        label=BY_CHANCE,
                        values=result.recall.sel(kind=BY_CHANCE).values,
                        dashed=True,
                    ),
                ),
                title=f"recall of the other circuit’s {result.recall_level}",
                x_title=f"first k {result.recall_level} by {result.rank} score",
                y_title="share",
                x_scale="log",
                markers=True,
            )
        )
    panels.append(_table(result))
    return FigureSpec(
        name="circuit-agreement",
        title="Agreement of two circuits",
        caption=_caption(result),
        panels=tuple(panels),
        columns=2 if result.recall is not None else 1,
        provenance=provenance_of(result),
    )


def _table(result: CircuitAgreement) -> Table:
    level = result.levels[-1]
    members = result.members[level]
    columns = [list(members[side]) for side in ("both", "one", "other")]
    length = max(map(len, columns), default=0)
    rows = [tuple(c[i] if i < len(c) else "–" for c in columns) for i in range(length)]
    more = f", the first {_MOST_ROWS} rows" if length > _MOST_ROWS else ""
    return Table(
        columns=("both", "only the one", "only the other"),
        rows=tuple(rows[:_MOST_ROWS]) or (("–", "–", "–"),),
        title=f"{level} in common{more}",
    )


def _caption(result: CircuitAgreement) -> str:
    counted = "; ".join(
        f"{level}: {len(m['both'])} in both, {len(m['one'])} and {len(m['other'])} in one only, of "
        f"{result.candidates[level]:,}, p = {float(result.p_value.sel(level=level)):.2g}"
        for level, m in result.members.items()
    )
    return (
        f"The one circuit ({_told(result.one)}) against the other ({_told(result.other)}). "
        f"{counted}. By chance: the expectation for random sets of the same sizes; p is the chance "
        "that such sets share as many. "
        + evidence(result, interval="no interval, because the sets are compared as they are")
    )


def _told(facts: dict) -> str:
    shown = {k: v for k, v in facts.items() if isinstance(v, str | int | float) and v != ""}
    return ", ".join(f"{key} {value}" for key, value in shown.items()) or "given"
