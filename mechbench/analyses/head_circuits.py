"""What chosen heads look for and what they write: their QK and OV circuits."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr

from mechbench.analyses.common.answer_reading import answer_reading
from mechbench.analyses.common.circuits import Spectrum, gaussian_spectra, spectrum, token_blocks
from mechbench.analyses.common.components import components
from mechbench.analyses.common.estimates import ESTIMATE, labelled
from mechbench.analyses.common.head_weights import (
    embedding,
    layer_heads,
    require_plain_heads,
    unembedding,
)
from mechbench.analyses.common.heads import Head, all_heads, head_label, head_labels, some_heads
from mechbench.analyses.common.provenance import Clock
from mechbench.analyses.common.steps import Progress, Steps
from mechbench.analyses.common.token_labels import chosen_tokens, token_labels
from mechbench.errors import TaskError
from mechbench.results.head_circuits import (
    CIRCUIT,
    OV,
    QK,
    READ,
    SIDE,
    SIGN,
    VECTOR,
    WRITE,
    HeadCircuits,
)
from mechbench.shapes import HEAD
from mechbench.tasks.base import Task

_N_CHOSEN = 4


@torch.no_grad()
def head_circuits(
    model,
    task: Task,
    *,
    heads: Sequence[Any] | None = None,
    tokens: Sequence[str | int] | None = None,
    onto: Sequence[str | int] | None = None,
    n_vectors: int = 3,
    n_top: int = 5,
    n_random: int = 50,
    seed: int = 0,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
) -> HeadCircuits:
    """Singular values and vectors of W_QK and W_OV, and both matrices between tokens.

    Norms are read as linear maps without their divisor, so that folding them changes nothing.

    Args:
        heads: such as "9.9"; by default the four whose direct attribution is the largest.
        tokens: queries of QK and attended tokens of OV, as text or ids; by default the task's 26
            most frequent answers.
        onto: keys of QK and written tokens of OV; by default the same.
        n_vectors, n_top: leading singular vectors, and tokens at either end of each.
        n_random: heads of Gaussian weights, the control of the singular values; at least 2.

    Raises:
        UnsupportedHookError: a head outside the model, or a model without such heads.
        TaskError: tokens that are no set of this vocabulary, or a count below 1.
        TokenizerError: text that is not one token.

    Source: Elhage et al. 2021 (circuits); SVD of weights after Millidge and Black 2022; the token
    sets and the control are our choice.
    """
    clock = Clock()
    if min(n_vectors, n_top, n_random - 1) < 1:
        raise TaskError("n_vectors and n_top must be at least 1, and n_random at least 2.")
    require_plain_heads(model)
    chosen = some_heads(heads, model) if heads is not None else _strongest(model, task)
    rows = chosen_tokens(model, task, tokens, 26)
    columns = rows if onto is None else chosen_tokens(model, task, onto, 26)
    steps = Steps(len(chosen), progress, checkpoint)
    n_vectors = min(n_vectors, model.cfg.d_head)
    n_top = min(n_top, model.cfg.d_vocab)
    E, U = embedding(model), unembedding(model)
    spectra: list[dict[str, Spectrum]] = []
    blocks, kv_heads = [], []
    for layer, head in chosen:
        weights = layer_heads(model, layer)
        spectra.append(
            {
                QK: spectrum(weights.qk(head), (E, E), n_vectors, n_top),
                OV: spectrum(weights.ov(head), (E, U), n_vectors, n_top),
            }
        )
        blocks.append(token_blocks(weights, head, (E[rows], E[rows]), (E[columns], U[columns])))
        kv_heads.append(weights.kv_head(head))
        steps.advance()
    return HeadCircuits(
        heads=tuple(head_labels(chosen)),
        chosen_by="given" if heads is not None else "largest direct attribution",
        kv_heads=tuple(kv_heads),
        control=_control(model, n_random, seed),
        **_spectra(model, chosen, spectra),
        **_blocks(model, chosen, blocks, rows, columns),
        provenance=clock.provenance(model, task, seed=seed, notes=("weights only, no prompts",)),
    )


def _strongest(model, task: Task) -> tuple[Head, ...]:
    """The heads with the largest mean direct attribution, in absolute value."""
    reading = answer_reading(model, task.metric(), task.clean.to(model.cfg.device))
    found = components(model, task.clean, reading)
    mean = dict(zip(found.labels, found.parts.mean((1, 2)).abs().tolist(), strict=True))
    ranked = sorted(all_heads(model), key=lambda head: -mean[head_label(head)])
    return tuple(ranked[:_N_CHOSEN])


def _control(model, n_random: int, seed: int) -> xr.DataArray:
    shares = gaussian_spectra(model.W_E.shape[1], model.cfg.d_head, n_random, seed)
    bounds = shares.quantile(torch.tensor([0.025, 0.975], dtype=shares.dtype), dim=0)
    axes = {ESTIMATE: ["mean", "low", "high"], VECTOR: range(shares.shape[1])}
    return labelled(
        torch.cat([shares.mean(0, keepdim=True), bounds]),
        axes,
        units="share of the Frobenius norm",
        meaning="singular values of Gaussian heads",
    )


def _spectra(
    model, chosen: Sequence[Head], spectra: Sequence[dict[str, Spectrum]]
) -> dict[str, xr.DataArray]:
    """The fields about singular values and the tokens along their vectors."""
    circuits = [QK, OV]
    singular, ids, values = (
        torch.stack([torch.stack([getattr(s[c], name) for c in circuits]) for s in spectra])
        for name in ("singular", "ids", "values")
    )
    axes = {HEAD: head_labels(chosen), CIRCUIT: circuits}
    ends = {
        **axes,
        VECTOR: range(ids.shape[2]),
        SIDE: [READ, WRITE],
        SIGN: ["+", "-"],
        "rank": range(ids.shape[-1]),
    }
    text = np.array(token_labels(model, ids.flatten().tolist()), dtype=str).reshape(ids.shape)
    return {
        "singular": labelled(
            singular,
            {**axes, VECTOR: range(singular.shape[-1])},
            units="1",
            meaning="singular values",
        ),
        "top_token": labelled(text, ends, units="token", meaning="tokens along the vector"),
        "top_value": labelled(values, ends, units="1", meaning="projection of the token"),
    }


def _blocks(
    model,
    chosen: Sequence[Head],
    blocks: Sequence[tuple[torch.Tensor, torch.Tensor]],
    rows: Sequence[int],
    columns: Sequence[int],
) -> dict[str, xr.DataArray]:
    """The fields about tokens by tokens."""
    qk, ov = (torch.stack(parts) for parts in zip(*blocks, strict=True))
    names = token_labels(model, rows), token_labels(model, columns)
    own = torch.tensor([columns.index(i) if i in columns else -1 for i in rows])
    hits = torch.where(own < 0, float("nan"), (ov.argmax(-1) == own).double())
    axis = {HEAD: head_labels(chosen)}
    return {
        "qk": labelled(
            qk,
            {**axis, "query": names[0], "key": names[1]},
            units="score, undivided",
            meaning="W_E W_Q W_K W_E between tokens",
        ),
        "ov": labelled(
            ov,
            {**axis, "attended": names[0], "written": names[1]},
            units="logits, undivided",
            meaning="W_E W_V W_O W_U between tokens",
        ),
        "copied": labelled(
            hits.nanmean(-1), axis, units="share of tokens", meaning="own token is the largest"
        ),
    }
