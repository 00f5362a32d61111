"""Result of generating the text of some queries with one pair of layers patched."""

from dataclasses import dataclass

import xarray as xr

from mechbench.results.base import Result

RUN, NAMED, QUERY = "run", "named", "query"
UNPATCHED, PATCHED, OTHER_STATE = "unpatched", "patched", "other query"
NOISE_STATE, REVERSED = "noise", "reversed"
RUNS = (UNPATCHED, PATCHED, OTHER_STATE, NOISE_STATE, REVERSED)
ANSWER, BRIDGE, OTHER_ANSWER = "answer", "bridge", "other answer"
WHAT = (ANSWER, BRIDGE, OTHER_ANSWER)


@dataclass(frozen=True, kw_only=True, eq=False)
class BackPatchedText(Result):
    """What a model says to some queries when one state is written into another layer.

    ``run`` is "unpatched"; "patched", where the prompt's own output of block ``source_layer`` at
    ``position`` ("t1", where the first hop's phrase ends, or "t2", the last token) replaces that of
    block ``target_layer``; or a control: "other query" writes another query's output of the source
    layer at its own such position, "noise" what is there plus a random direction as long as the
    change that the patch makes, and "reversed" writes the target layer's output into the source
    layer.

    ``texts`` (run query) are continuations of at most ``n_new`` tokens, of the queries of the task
    that ``query`` numbers; by ``method`` "argmax" the first token alone. ``temperature`` 0 is
    greedy. ``named`` (named run query) is true where a text names the query's "answer" (e3), its
    "bridge" (e2), or the "other answer", that of the other query; by "argmax" where it begins such
    a name. ``share`` (estimate named run) is the mean over these queries, with 95 % bootstrap
    intervals over them. ``questions``, ``answers``, ``bridges`` and ``others`` (the other query's
    question) are in the order of ``query``.
    """

    position: str
    source_layer: int
    target_layer: int
    method: str
    n_new: int
    temperature: float
    questions: tuple[str, ...]
    answers: tuple[str, ...]
    bridges: tuple[str, ...]
    others: tuple[str, ...]
    texts: xr.DataArray
    named: xr.DataArray
    share: xr.DataArray
