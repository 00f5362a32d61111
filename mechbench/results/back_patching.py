"""Result of writing a prompt's later states back into its earlier layers."""

from dataclasses import dataclass

import xarray as xr

from mechbench.results.base import Result
from mechbench.shapes import POSITION, PROMPT

RULE, FIRST_TOKEN, TEXT = "rule", "first token", "text"
STATE, OWN, OTHER, NOISE = "state", "own", "another query's", "noise"
STATES = (OWN, OTHER, NOISE)
SOURCE, TARGET = "source_layer", "target_layer"
SET, INCORRECT, CORRECT = "set", "incorrect", "correct"
RATE, ANY_CELL, FIXED_CELL, MEAN_CELL = "rate", "any cell", "fixed cell", "mean over cells"
RATES = (ANY_CELL, FIXED_CELL, MEAN_CELL)
MEASURE = "measure"
BACK, OTHER_STATE, NOISE_STATE = "back-patched", "other query", "noise"
FORWARD, OTHER_ANSWER = "forward", "other answer"
MEASURES = (BACK, OTHER_STATE, NOISE_STATE, FORWARD, OTHER_ANSWER)
CHOICE = "choice"


@dataclass(frozen=True, kw_only=True, eq=False)
class BackPatching(Result):
    """Which pairs of layers, from ``source_layer`` to ``target_layer``, make the answer right.

    A cell overwrites the output of block ``target_layer`` at ``position`` ("t1", where the first
    hop's phrase ends, or "t2", the last token) with a state. The axis ``state`` says which: the
    prompt's "own" output of block ``source_layer`` there (``source_layer`` > ``target_layer`` is
    back-patching, < the forward control, = the unpatched run), "another query's" output of that
    block at its own such position, or "noise": the state that is there plus a random direction as
    long as the change that back-patching makes. The two controls are run in the back-patching cells
    alone.

    The axis ``rule`` says what a right answer is: its "first token" begins a name of the answer, or
    the "text" of ``n_new`` greedy tokens holds one. ``prompt`` counts queries of the task, of which
    those of the incorrect set (both hops right, composition and shortcuts wrong) and of the correct
    set (composition right as well) were run, as far as the caps allow; ``sets`` (prompt) says which
    is in which, ``counts`` how many queries the task has in each and in neither.

    ``success`` (rule state prompt position source_layer target_layer) is 1 or 0, NaN where nothing
    was run; ``other_answer`` (rule prompt position source_layer target_layer) the same of own
    states when another query's answer counts as right. ``said`` (state prompt position source_layer
    target_layer) is an index into ``texts``, ``first`` the same into ``tokens``; -1 where nothing
    was run.

    ``grid`` (estimate rule state set position source_layer target_layer) is the mean success of
    each cell, ``other_grid`` (the same axes but state) the mean of ``other_answer``. ``rates``
    (estimate rate rule set position measure) sums it up: "any cell" is the share of queries for
    which at least one of L(L-1)/2 cells is right, an existence rate that is inflated by the number
    of tries; "fixed cell" uses one cell, the best for ``n_chosen`` queries of the incorrect set, on
    the other ``n_scored`` of them (and on all correct ones); "mean over cells" draws no maximum.
    ``measure`` is "back-patched" or a control: "other query" and "noise" put those states into the
    same cells, "forward" uses the forward cells and has a fixed cell of its own, "other answer" is
    the different-answer hit rate. ``fixed_cells`` (rule position measure choice) are source and
    target layer, ``chosen_on`` the queries that chose them.
    All intervals are 95 % bootstrap intervals over prompts.
    """

    method: str
    n_new: int
    counts: dict[str, int]
    n_chosen: int
    n_scored: int
    chosen_on: tuple[int, ...]
    questions: tuple[str, ...]
    answers: tuple[str, ...]
    unpatched: tuple[str, ...]
    texts: tuple[str, ...]
    tokens: tuple[str, ...]
    sets: xr.DataArray
    success: xr.DataArray
    other_answer: xr.DataArray
    said: xr.DataArray
    first: xr.DataArray
    grid: xr.DataArray
    other_grid: xr.DataArray
    rates: xr.DataArray
    fixed_cells: xr.DataArray

    def n_run(self, name: str) -> int:
        """How many queries of a set were run."""
        return int((self.sets == name).sum())

    def queries(
        self, name: str, *, rule: str, position: str, cell: tuple[int, int], right: bool | None
    ) -> tuple[int, ...]:
        """Numbers of the queries of a set that a cell (source, target) makes right, or wrong.

        Of all of them where ``right`` is None.
        """
        members = self.sets[PROMPT].values[self.sets.values == name]
        at = {RULE: rule, STATE: OWN, POSITION: position, SOURCE: cell[0], TARGET: cell[1]}
        success = self.success.sel({**at, PROMPT: members}).values
        kept = members if right is None else members[success == float(right)]
        return tuple(int(query) for query in kept)
