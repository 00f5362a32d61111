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
    variants = "variants"
    backpatch = "backpatch"


def bench(
    suite: Annotated[Suite, typer.Argument(help="What to measure.")] = Suite.sweep,
    out: Annotated[Path, typer.Option(help="JSON file for the numbers.")] = Path("bench.json"),
    prompts: Annotated[
        int | None,
        typer.Option(min=1, help="Prompts; by default 8, discover 20, variants 4, backpatch 16."),
    ] = None,
    length: Annotated[
        list[int] | None,
        typer.Option(
            min=4,
            max=1024,
            help="Prompt length; by default 16 and 64, discover 32, variants 512, backpatch 12.",
        ),
    ] = None,
    rounds: Annotated[
        int | None, typer.Option(min=1, help="Repetitions; by default 9, discover 3.")
    ] = None,
    variant: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="variants: this architecture alone; repeatable."),
    ] = None,
) -> None:
    """Time mechbench against plain loops and the usual tools, in one run.

    With random weights; all but variants on GPT-2 small's shape. sweep: the planner against a plain
    loop and TransformerLens' patching. discover: edge attribution against the usual matrix form,
    and a circuit's evaluation against a forward. variants: every architecture against its dense
    control of equal width: forward, FLOPs, cache and decoding. backpatch: all pairs of layers at
    once against one generation per pair. Each takes some minutes.
    """
    from mechbench.cli.console import Bars, say, stdout
    from mechbench.errors import SpecError, StoreError
    from mechbench.results.files import make_folder, write_atomically

    if variant and suite is not Suite.variants:
        raise SpecError(f"--variant belongs to 'bench variants', not to 'bench {suite.value}'.")
    make_folder(out.parent)  # before minutes of measuring, not after
    if out.is_dir():
        raise StoreError(f"{str(out)!r} is a folder: give the name of a JSON file with --out.")
    given = {"n_prompts": prompts, "rounds": rounds}
    options: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    if suite is Suite.sweep:
        from mechbench.bench.sweep import run_sweep_bench

        numbers = run_sweep_bench(lengths=tuple(length or (16, 64)), **options, say=say)
    elif suite is Suite.discover:
        from mechbench.bench.discover import run_discover_bench

        numbers = run_discover_bench(length=(length or [32])[0], **options, say=say)
    elif suite is Suite.backpatch:
        from mechbench.bench.backpatch import run_backpatch_bench

        if rounds is not None:
            raise SpecError("--rounds does not belong to 'bench backpatch', which runs once.")
        numbers = run_backpatch_bench(length=(length or [12])[0], **options, say=say)
    else:
        from mechbench.bench.variants import run_variants_bench
        from mechbench.cli.bench_table import variants_table
        from mechbench.cli.summary import print_table

        with Bars() as bars:
            bar = bars.add("architectures")
            numbers = run_variants_bench(
                names=variant or (),
                length=(length or [512])[0],
                **options,
                say=say,
                progress=lambda done, total: bars.update(bar, done, total),
            )
        print_table(variants_table(numbers))
    write_atomically(out, json.dumps(numbers, indent=1) + "\n")
    stdout.print(f"Numbers: {out}", markup=False, soft_wrap=True)
