"""The commands, their order and the examples in their help."""

from typing import Annotated

import typer

import mechbench
from mechbench.cli.bench import bench
from mechbench.cli.dashboard import dashboard
from mechbench.cli.demo import demo
from mechbench.cli.discover import discover
from mechbench.cli.export import export
from mechbench.cli.models import models
from mechbench.cli.run import run
from mechbench.cli.runs import runs, show
from mechbench.cli.train import train

app = typer.Typer(
    name="mechbench",
    help="Which parts of a transformer do what, and how do you know?",
    epilog="Example: mechbench demo",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)

_EXAMPLES = {
    demo: ["mechbench demo --out my-demo"],
    run: [
        "mechbench run acronyms --set task.n=32",
        "mechbench run my-spec.yaml --model gpt2 --device cuda --resume",
    ],
    discover: [
        "mechbench discover acronyms-gpt2 acronyms --method eap-ig --n 200",
        "mechbench discover gpt2 pairs --set task.params.path=my-pairs.csv --device cuda",
    ],
    models: ["mechbench models", "mechbench models --json"],
    runs: ["mechbench runs --store mechbench-demo"],
    show: ["mechbench show acronyms --store mechbench-demo"],
    export: [
        "mechbench export acronyms --format pdf,svg --preset column",
        "mechbench export acronyms:heads discovery --preset text --zip paper.zip",
        "mechbench export heads.figure.json --caption 'Heads that matter.' --out figures",
        "mechbench export acronyms:heads discovery:curve --basket paper.json",
        "mechbench export paper.json --caption 'curve=Faithfulness by size.' --zip paper.zip",
    ],
    train: ["mechbench train acronyms-gpt2 --out my-model --set steps=500"],
    bench: [
        "mechbench bench sweep --out bench.json",
        "mechbench bench discover",
        "mechbench bench variants --variant gpt2 --variant llama --rounds 3",
    ],
    dashboard: ["mechbench dashboard --store mechbench-demo"],
}


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"mechbench {mechbench.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    pass


for _command, _examples in _EXAMPLES.items():
    _lines = [f"Example: {line}" for line in _examples]
    app.command(_command.__name__, epilog="\n\n".join(_lines))(_command)
