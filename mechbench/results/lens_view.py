"""Result of reading one prompt's residual streams as if each were the last."""

from dataclasses import dataclass

import xarray as xr

from mechbench.results.base import Result

RESIDUAL, RANK = "residual", "rank"
RUNS = ("clean", "corrupted")


@dataclass(frozen=True, kw_only=True, eq=False)
class LensView(Result):
    """What every stream at every position of prompt number ``prompt`` says, in the run ``run``.

    The axis ``residual`` counts from the embedding, as in ``LogitLens``. ``top_token`` and
    ``top_prob`` (residual position rank) are the likeliest tokens, rank counting from 1.
    ``answer_rank`` (0 is the largest logit), ``log_prob`` (nats) and ``control_rank``, the rank of
    the next prompt's answer, are (residual position answer). ``tokens`` (position) are the
    prompt's, ``answers`` (answer) those of its clean prompt, and ``read_at`` (answer) the positions
    at which the task reads them.
    """

    prompt: int
    run: str
    top_token: xr.DataArray
    top_prob: xr.DataArray
    answer_rank: xr.DataArray
    log_prob: xr.DataArray
    control_rank: xr.DataArray
    tokens: xr.DataArray
    answers: xr.DataArray
    read_at: xr.DataArray
