"""What every method that scores edges returns."""

from dataclasses import dataclass
from typing import Any

import xarray as xr

from mechbench.errors import CircuitError
from mechbench.graphs.topology import Graph, graph_from
from mechbench.results.base import Result


@dataclass(frozen=True, kw_only=True, eq=False)
class EdgeScores(Result):
    """A score per edge of a model's graph; base of the methods' results.

    A score is how much the metric falls when the edge carries the corrupted run's activation
    instead of the clean run's: positive edges help the metric. ``exact`` says whether that was
    measured or approximated by gradients.

    ``scores`` has the axis (edge), labelled by ``graph.edge_names``, and is the mean over prompts
    (the mean over answers within each); ``summary`` (estimate edge) adds its 95 % bootstrap
    interval; ``per_prompt`` (prompt edge) is None where it was not kept. ``clean`` and ``corrupt``
    (prompt) are the metric of both runs. All are in units of the metric.

    ``nodes`` and ``n_positions`` make the graph; ``model_facts`` are those of a circuit file.
    """

    method: str
    exact: bool
    metric: str
    corruption: str
    scores: xr.DataArray
    summary: xr.DataArray
    per_prompt: xr.DataArray | None
    clean: xr.DataArray
    corrupt: xr.DataArray
    nodes: dict[str, Any]
    n_positions: int | None
    model_facts: dict[str, Any]

    def prompts(self) -> dict[str, Any]:
        """What a circuit says of the prompts that chose it, here those that were scored."""
        p = self.provenance
        return {"name": p.task, "seed": p.task_seed, "n_prompts": p.n_prompts}

    def graph(self) -> Graph:
        """The graph whose edges were scored.

        Raises:
            CircuitError: the stored labels are not those of the graph.
        """
        graph = graph_from(self.nodes, self.n_positions)
        if tuple(self.scores["edge"].values.tolist()) != graph.edge_names:
            raise CircuitError("The stored scores do not belong to the graph stored beside them.")
        return graph
