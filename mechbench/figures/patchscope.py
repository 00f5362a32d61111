"""Patchscopes: how often states say the answer, for every pair of layers."""

from mechbench.figures.evidence import INTERVAL, evidence, provenance_of
from mechbench.figures.query_panels import pair_grid
from mechbench.figures.spec import FigureSpec, Table
from mechbench.results.patchscope import SAMPLE, SHOWN, Patchscope
from mechbench.results.query_groups import SOURCE_LAYER, TARGET_LAYER

_LONGEST = 60


def patchscope_figure(result: Patchscope, *, prompt: int = 0) -> FigureSpec:
    """Maps of the share and of its control, and what one of the shown prompts says by layer."""
    last = result.texts[TARGET_LAYER].values[-1]
    shown = result.texts.isel({"sample": 0, SHOWN: prompt}).sel({TARGET_LAYER: last})
    said = {
        "sample": f"any of {result.texts.sizes['sample']} samples of {result.n_new} tokens",
        "greedy": f"the greedy continuation of {result.n_new} tokens",
        "argmax": "the likeliest first token",
    }[result.method]
    norms = ", ".join(f"{float(v):.3g}" for v in result.norms.values)
    return FigureSpec(
        name="patchscope",
        title="What states say in another prompt",
        caption=(
            f"The output of a block at {result.where!r} (source) replaces that of a block at the "
            f"placeholder of the target prompt {result.prompt!r} of {result.target} (target; "
            f"mapping: {result.mapping}): the share of prompts for which {said} says the answer. "
            "The control asks for the answer of the next prompt. Root mean square of the change "
            f"by target layer: {norms}. "
            + evidence(result, interval=f"{INTERVAL} are in the result")
        ),
        panels=(
            pair_grid(result.share, "says the answer", "share"),
            pair_grid(result.control, "says another prompt's answer", "share"),
            Table(
                columns=("source layer", f"prompt {prompt}, target layer {last}"),
                rows=tuple(
                    (str(layer), str(text).replace("\n", " ")[:_LONGEST])
                    for layer, text in zip(shown[SOURCE_LAYER].values, shown.values, strict=True)
                ),
            ),
        ),
        columns=3,
        provenance=provenance_of(result),
    )


def said_rows(
    result: Patchscope, row: int, col: int
) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Names of columns, and what the shown prompts say for one pair of layers, by sample."""
    texts = result.texts.isel({SOURCE_LAYER: row, TARGET_LAYER: col})
    n = texts.sizes[SAMPLE]
    columns = ("prompt", "answer", *(("says",) if n == 1 else (f"says ({i})" for i in range(n))))
    rows = [
        (
            read.strip(),
            answer.strip(),
            *(str(t).replace("\n", " ").strip() for t in texts[:, i].values),
        )
        for i, (read, answer) in enumerate(zip(result.read, result.answers, strict=True))
    ]
    return columns, rows
