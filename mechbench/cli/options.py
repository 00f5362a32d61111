"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

Store = Annotated[Path, typer.Option(help="Folder of the runs.", show_default=True)]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="a.b=c", help="Change one value of the spec; repeatable."),
]
Device = Annotated[
    str | None, typer.Option(help="Where to compute: cpu, cuda; by default cuda if there is one.")
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with the unfinished run.")]
Force = Annotated[bool, typer.Option("--force", help="Run again, though it was run before.")]
RunName = Annotated[
    str, typer.Argument(metavar="RUN", help="A run's folder, its name, or the start of its name.")
]
DEFAULT_STORE = Path("runs")
