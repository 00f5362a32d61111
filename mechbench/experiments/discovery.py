"""The experiment behind ``mechbench discover``: score edges, choose a circuit, test it."""

import re
from pathlib import Path
from typing import Any

from mechbench.tasks.registry import task_params

METHODS = {
    "eap": ("edge_attribution", {"method": "eap"}),
    "eap-ig": ("edge_attribution", {"method": "eap-ig-inputs"}),
    "eap-ig-activations": ("edge_attribution", {"method": "eap-ig-activations"}),
    "clean-corrupted": ("edge_attribution", {"method": "clean-corrupted"}),
    "exact": ("edge_patching", {}),
    "acdc": ("acdc", {}),
}
"""Names on the command line, and the analysis with its parameters that each stands for."""

WITH_STEPS = ("eap-ig", "eap-ig-activations")


def discovery_spec(
    model: str,
    task: str,
    *,
    method: str = "eap-ig",
    n: int = 200,
    n_held_out: int | None = None,
    ig_steps: int = 5,
    n_edges: int | None = None,
    rule: str = "greedy",
    rank: str = "absolute",
    ablation: str = "patching",
    corruption: str | None = None,
    threshold: float | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """An experiment spec as plain data: score and choose on ``n`` prompts, test on others.

    Weights are used as stored: every method gives the same scores on folded and centred ones, and
    models that cannot be processed can be searched as well.

    Args:
        method: one of ``METHODS``.
        n_held_out: prompts, of the next seed, on which the circuit is tested; by default half of
            ``n``. A task of a file has no other prompts, and the result says so.
        n_edges: of the circuit; by default as few as keep 0.9 of the metric on the ``n`` prompts.
        threshold: of ACDC.

    Raises:
        TaskError: an unknown task.
    """
    analysis, params = METHODS[method]
    drawn = "seed" in task_params(task)  # a file holds the prompts that it holds
    held_out = {"n": n_held_out or max(2, n // 2), "task": {"seed": seed + 1}} if drawn else {}
    options = {"corruption": corruption, "threshold": threshold if method == "acdc" else None}
    if method in WITH_STEPS:
        options["steps"] = ig_steps
    tested = {"ablation": ablation} | ({} if corruption is None else {"corruption": corruption})
    chosen = {"circuit": "@scores"}  # ACDC decides itself
    steps = [{"id": "scores", "analysis": analysis, "params": {**params, **_given(options)}}]
    if method != "acdc":
        chosen = {"circuit": "@choice"}
        rules = {"scores": "@scores", "rule": rule, "rank": rank, "n_edges": n_edges}
        few = {"n_random": 10, "n_subsets": 2}
        steps.append(
            {"id": "choice", "analysis": "circuit_tests", "params": {**rules, **tested, **few}}
        )
    steps.append(
        {"id": "circuit", "analysis": "circuit_tests", **held_out, "params": {**chosen, **tested}}
    )
    curve = {"scores": "@scores", "rule": rule, **tested}
    steps.append({"id": "curve", "analysis": "circuit_curve", **held_out, "params": curve})
    return {
        "name": f"discover-{_slug(model)}-{_slug(task)}-{method}",
        "title": f"A circuit for {task} in {Path(model).name}, found by {method}",
        "model": {
            "name": model,
            "fold_ln": False,
            "center_writing_weights": False,
            "center_unembed": False,
        },
        "task": {"name": task, "n": n, "seed": seed if drawn else None},
        "seed": seed,
        "steps": steps,
        "outputs": {"formats": ["pdf", "svg", "html"]},
    }


def _given(options: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in options.items() if value is not None}


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", Path(name).name.lower()).strip("-") or "unnamed"
