"""``mechbench bench``."""

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Suite(StrEnum):
    """What can be measured."""

    sweep = "sweep"


def bench(
    suite: Annotated[Suite, typer.Argument(help="What to measure.")] = Suite.sweep,
    out: Annotated[Path, typer.Option(help="JSON file for the numbers.")] = Path("bench.json"),
    prompts: Annotated[int, typer.Option(min=1, help="Prompts of one batch.")] = 8,
    length: Annotated[
        list[int] | None,
        typer.Option(min=4, max=1024, help="Prompt length; repeatable. By default 16 and 64."),
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Repetitions of the short timings.")] = 9,
) -> None:
    """Time the sweep planner against a plain loop and TransformerLens, in one run.

    On GPT-2 small's shape with random weights. It takes some minutes.
    """
    from mechbench.bench.sweep import run_sweep_bench
    from mechbench.cli.console import say, stdout
    from mechbench.errors import StoreError
    from mechbench.results.files import make_folder, write_atomically

    assert suite is Suite.sweep
    make_folder(out.parent)  # before minutes of measuring, not after
    if out.is_dir():
        raise StoreError(f"{str(out)!r} is a folder: give the name of a JSON file with --out.")
    numbers = run_sweep_bench(
        lengths=tuple(length or (16, 64)), n_prompts=prompts, rounds=rounds, say=say
    )
    write_atomically(out, json.dumps(numbers, indent=1) + "\n")
    stdout.print(f"Numbers: {out}", markup=False, soft_wrap=True)
