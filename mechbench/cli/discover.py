"""``mechbench discover``."""

import shlex
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from mechbench.cli.options import DEFAULT_STORE, Device, Force, Resume, Settings


class Method(StrEnum):
    """How edges are scored."""

    eap = "eap"
    eap_ig = "eap-ig"
    eap_ig_activations = "eap-ig-activations"
    clean_corrupted = "clean-corrupted"
    exact = "exact"
    acdc = "acdc"


def discover(
    model: Annotated[str, typer.Argument(help="A name, a folder or owner/name on the hub.")],
    task: Annotated[str, typer.Argument(help="A task by name; 'pairs' reads your own file.")],
    method: Annotated[Method, typer.Option(help="How edges are scored.")] = Method.eap_ig,
    n: Annotated[int, typer.Option(min=2, help="Prompts that the scores are computed on.")] = 200,
    held_out: Annotated[
        int | None, typer.Option(min=2, help="Other prompts for the tests; by default half of n.")
    ] = None,
    edges: Annotated[
        int | None,
        typer.Option(min=1, help="Size of the circuit; by default as few as keep the metric."),
    ] = None,
    ig_steps: Annotated[int, typer.Option(min=1, help="Steps of integrated gradients.")] = 5,
    threshold: Annotated[
        float | None, typer.Option(help="ACDC: the loss at which an edge is kept.")
    ] = None,
    rule: Annotated[str, typer.Option(help="How edges are chosen: top or greedy.")] = "greedy",
    rank: Annotated[
        str, typer.Option(help="Order edges by signed, absolute or certain score.")
    ] = "absolute",
    ablation: Annotated[
        str, typer.Option(help="Outside the circuit: patching, zero, mean or resample.")
    ] = "patching",
    corruption: Annotated[
        str | None, typer.Option(help="Which corruption; by default the task's own.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the prompts; tests use the next one.")] = 0,
    set_: Settings = None,
    device: Device = None,
    out: Annotated[Path, typer.Option(help="Folder of the runs.")] = DEFAULT_STORE,
    resume: Resume = False,
    force: Force = False,
) -> None:
    """Find the circuit of a task, and test it on prompts that did not choose it.

    Scores every edge of the model's graph, chooses a circuit, measures its faithfulness,
    completeness and minimality against random circuits, and draws it.
    """
    from mechbench.cli.run import execute
    from mechbench.cli.summary import print_summary
    from mechbench.experiments.discovery import discovery_spec
    from mechbench.experiments.overrides import apply_overrides
    from mechbench.experiments.spec import parse_spec

    data = discovery_spec(
        model,
        task,
        method=method.value,
        n=n,
        n_held_out=held_out,
        ig_steps=ig_steps,
        n_edges=edges,
        rule=rule,
        rank=rank,
        ablation=ablation,
        corruption=corruption,
        threshold=threshold,
        seed=seed,
    )
    settings = [*(set_ or ()), *([f"device={device}"] if device else ())]
    spec = parse_spec(apply_overrides(data, settings), origin="This discovery")
    again = shlex.join(["mechbench", *sys.argv[1:], *(() if resume else ("--resume",))])
    print_summary(execute(spec, out, again=again, resume=resume, force=force))
