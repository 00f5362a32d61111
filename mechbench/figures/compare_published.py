"""Published and measured numbers in separate columns of tables."""

import xarray as xr

from mechbench.figures.evidence import ESTIMATE, evidence, mean_of, provenance_of
from mechbench.figures.spec import FigureSpec, Table
from mechbench.results.compare_published import ComparePublished
from mechbench.shapes import ANSWER

_NOTHING = "–"


def compare_published_figure(result: ComparePublished) -> FigureSpec:
    """Tables: heads, cumulative LD, head effects."""
    tags = "; ".join(f"{tag} {meaning}" for tag, meaning in result.tags.items())
    overlap = ""
    if result.overlap is not None and result.overlap_p_value is not None:
        overlap = (
            f" {result.overlap['both']} heads are in both circuits (as many or more by chance: "
            f"p = {result.overlap_p_value:.3g})."
        )
    return FigureSpec(
        name="compare-published",
        title=f"Published for {result.published_model}, and measured here",
        caption=(
            f"{result.statement}{overlap} Published: {result.source} Tags: {tags}. "
            + evidence(result, interval="measured: mean and 95 % bootstrap interval over prompts")
        ),
        panels=(_heads(result), _cumulative(result), _effects(result)),
        provenance=provenance_of(result),
    )


def _heads(result: ComparePublished) -> Table:
    published, found = "published role", f"role found here ({result.provenance.model})"
    if not result.comparable:
        rows = [(h, r, _NOTHING) for h, r in result.published_roles.items()]
        rows += [(h, _NOTHING, r) for h, r in result.found_roles.items()]
        title = "Heads: names of two models, not comparable"
        names = [f"{result.published_model} {h}" for h in result.published_heads]
        names += [f"{result.provenance.model} {h}" for h in result.found_heads]
        rows = [(name, *row[1:]) for name, row in zip(names, rows, strict=True)]
        return Table(columns=("head", published, found), rows=tuple(rows), title=title)
    every = dict.fromkeys([*result.published_heads, *result.found_heads])
    rows = [
        (h, result.published_roles.get(h, _NOTHING), result.found_roles.get(h, _NOTHING))
        for h in every
    ]
    return Table(columns=("head", published, found), rows=tuple(rows), title="Heads")


def _cumulative(result: ComparePublished) -> Table:
    letters = [str(a) for a in result.cumulative_published[ANSWER].values]
    columns = ["heads kept", *(f"{a}, {side}" for a in letters for side in ("published", "here"))]
    rows = []
    for step in result.cumulative_published["step"].values:
        row = ["nothing" if step == "nothing" else f"+{step}"]
        for answer in letters:
            at = {"step": step, ANSWER: answer}
            row.append(f"{float(result.cumulative_published.sel(at)):.2f}")
            row.append(_measured(result.cumulative_here, at))
        rows.append(tuple(row))
    last = ["intact model"]
    for answer in letters:
        last.append(f"{float(result.full_published.sel({ANSWER: answer})):.2f}")
        last.append(_measured(result.full_here, {ANSWER: answer}))
    return Table(
        columns=tuple(columns),
        rows=(*rows, tuple(last)),
        title="LD (logits) with the other heads mean-ablated",
    )


def _effects(result: ComparePublished) -> Table:
    names = [str(e) for e in result.effects_published["effect"].values]
    rows = tuple(
        (
            name,
            f"{float(result.effects_published.sel(effect=name)):.2f}",
            tag,
            _measured(result.effects_here, {"effect": name}),
        )
        for name, tag in zip(names, result.effect_tags, strict=True)
    )
    columns = ("corrupted, letter, where: head", "published ΔLD", "tag", "ΔLD here")
    return Table(columns=columns, rows=rows, title="Head patching (logits)")


def _measured(values: xr.DataArray | None, at: dict[str, str]) -> str:
    if values is None:
        return _NOTHING
    own = values.sel(at)
    low, high = (float(own.sel({ESTIMATE: e})) for e in ("low", "high"))
    return f"{float(mean_of(own)):.2f} [{low:.2f}, {high:.2f}]"
