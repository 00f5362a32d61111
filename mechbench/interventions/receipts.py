"""What an intervention really did."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Fired:
    """One hook point that was written to.

    Attributes:
        times: number of cells that patched it.
        rms_norm: root mean square, over cells and prompts, of the L2 norm of the change.
    """

    hook_name: str
    times: int
    rms_norm: float


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """The account of one call of the engine.

    Attributes:
        method: ``"wavefront"``, ``"full forward"`` or ``"paths to the logits"``.
        n_cells: interventions asked for.
        n_unchanged: of these, the ones that provably change nothing and took the base value.
        restarts: which restarts were used: ``"layer"``, ``"position"``.
        fired: hook points written to.
        tokens: token ids of the first base prompt, as they were run.
        n_chunks: pieces the work was cut into.
        budget_bytes: the memory budget at the end.
        budget_halvings: how often it was halved because memory ran out.
    """

    method: str
    n_cells: int
    n_unchanged: int = 0
    restarts: tuple[str, ...] = ()
    fired: tuple[Fired, ...] = ()
    tokens: tuple[int, ...] = ()
    n_chunks: int = 1
    budget_bytes: int | None = None
    budget_halvings: int = 0
    notes: tuple[str, ...] = field(default=())
