"""``mechbench demo``."""

from pathlib import Path
from typing import Annotated

import typer

from mechbench.cli.options import Device, Force, Settings

DEMO_SPEC = "acronyms"


def demo(
    out: Annotated[Path, typer.Option(help="Folder for the run.")] = Path("mechbench-demo"),
    set_: Settings = None,
    device: Device = None,
    force: Force = False,
) -> None:
    """Find and test the acronym circuit of the bundled model, and write a report.

    It takes a minute or two and needs no network. An interrupted demo goes on where it stopped.
    """
    import shlex

    from mechbench.cli.run import execute
    from mechbench.cli.summary import print_summary
    from mechbench.experiments.spec import load_spec

    settings = [*(set_ or ()), *([f"device={device}"] if device else ())]
    spec = load_spec(DEMO_SPEC, overrides=tuple(settings))
    words = ["mechbench", "demo", "--out", str(out)]
    words += [word for setting in settings for word in ("--set", setting)]
    print_summary(execute(spec, out, again=shlex.join(words), resume=True, force=force))
