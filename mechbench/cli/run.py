"""``mechbench run``."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mechbench.cli.options import DEFAULT_STORE, Device, Force, Resume, Settings

if TYPE_CHECKING:
    from mechbench.experiments.spec import ExperimentSpec
    from mechbench.results.run import Run


def run(
    spec: Annotated[str, typer.Argument(help="A YAML file, or the name of a bundled spec.")],
    model: Annotated[
        str | None, typer.Option(help="Another model: a name, a folder or owner/name on the hub.")
    ] = None,
    set_: Settings = None,
    device: Device = None,
    out: Annotated[Path, typer.Option(help="Folder of the runs.")] = DEFAULT_STORE,
    resume: Resume = False,
    force: Force = False,
) -> None:
    """Run an experiment: every analysis of a spec, with figures and a report."""
    from mechbench.cli.summary import print_summary
    from mechbench.experiments.spec import load_spec

    settings = list(set_ or ())
    if device is not None:
        settings.append(f"device={device}")
    loaded = load_spec(spec, overrides=tuple(settings), model=model)
    words = ["mechbench", "run", spec]
    words += ["--model", model] if model else []
    words += [word for setting in settings for word in ("--set", setting)]
    words += ["--out", str(out)]
    again = shlex.join([*words, "--resume"])
    print_summary(execute(loaded, out, again=again, resume=resume, force=force))


def execute(spec: "ExperimentSpec", store: Path, *, again: str, resume: bool, force: bool) -> "Run":
    """The finished run of a spec, with its report; ``again`` is the command that resumes it.

    Raises:
        typer.Exit: with code 130 after an interrupt, which leaves a run that can be resumed.
        MechbenchError: see ``run_experiment``.
    """
    from mechbench.cli.console import Bars, say
    from mechbench.cli.following import BarObserver
    from mechbench.experiments.report import write_report
    from mechbench.experiments.runner import run_experiment
    from mechbench.results.store import RunStore

    try:
        with Bars() as bars:
            observer = BarObserver(bars)
            done = run_experiment(
                spec, RunStore(store), resume=resume, force=force, observer=observer
            )
            if not observer.worked:
                say(f"Already run: {done.path}. To run it again, add --force.")
            write_report(done)
    except KeyboardInterrupt:
        say(f"Interrupted; what is finished is kept. To go on: {again}")
        raise typer.Exit(130) from None
    return done
