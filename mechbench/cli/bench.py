"""``mechbench bench``."""

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer


class Suite(StrEnum):
    """What can be measured."""

    sweep = "sweep"
    discover = "discover"


def bench(
    suite: Annotated[Suite, typer.Argument(help="What to measure.")] = Suite.sweep,
    out: Annotated[Path, typer.Option(help="JSON file for the numbers.")] = Path("bench.json"),
    prompts: Annotated[
        int | None, typer.Option(min=1, help="Prompts of one batch; by default 8, discover 20.")
    ] = None,
    length: Annotated[
        list[int] | None,
        typer.Option(min=4, max=1024, help="Prompt length; by default 16 and 64, discover 32."),
    ] = None,
    rounds: Annotated[
        int | None, typer.Option(min=1, help="Repetitions; by default 9, discover 3.")
    ] = None,
) -> None:
    """Time mechbench against plain loops and the usual tools, in one run.

    On GPT-2 small's shape with random weights. sweep: the planner against a plain loop and
    TransformerLens' patching. discover: edge attribution against the usual matrix form, and a
    circuit's evaluation against a forward. Each takes some minutes.
    """
    from mechbench.cli.console import say, stdout
    from mechbench.errors import StoreError
    from mechbench.results.files import make_folder, write_atomically

    make_folder(out.parent)  # before minutes of measuring, not after
    if out.is_dir():
        raise StoreError(f"{str(out)!r} is a folder: give the name of a JSON file with --out.")
    given = {"n_prompts": prompts, "rounds": rounds}
    options: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    if suite is Suite.sweep:
        from mechbench.bench.sweep import run_sweep_bench

        numbers = run_sweep_bench(lengths=tuple(length or (16, 64)), **options, say=say)
    else:
        from mechbench.bench.discover import run_discover_bench

        numbers = run_discover_bench(length=(length or [32])[0], **options, say=say)
    write_atomically(out, json.dumps(numbers, indent=1) + "\n")
    stdout.print(f"Numbers: {out}", markup=False, soft_wrap=True)
