"""What a run folder holds, for those who only look: found by name, results and figures in order."""

from pathlib import Path

from mechbench.errors import StoreError
from mechbench.figures.spec import FigureSpec
from mechbench.results.base import Result
from mechbench.results.files import read_text
from mechbench.results.io import PARTIAL_FOLDER, RESULT_FILE, load_result
from mechbench.results.run import Run, open_run
from mechbench.results.store import RunStore


def find_run(name: str, root: Path) -> Run:
    """A run by its folder, by the name of its spec (the newest one), or by the start of its id.

    Raises:
        StoreError: none, or several, fit; the nearest are named.
    """
    if (Path(name) / "spec.json").is_file():
        return open_run(Path(name))
    store = RunStore(root)
    for summary in store.list():
        run = open_run(summary.path)
        if run.spec.get("name") == name:
            return run
    return store.open(name)


def saved_results(run: Run) -> dict[str, Result]:
    """The results that a run has so far, by step, in the order of its spec."""
    steps = [step["id"] for step in run.spec["steps"]]
    return {step: run.load_result(step) for step in steps if run.has(step)}


def saved_figures(run: Run) -> dict[str, FigureSpec]:
    """The figures that a run has so far, by step, in the order of its spec."""
    files = {step["id"]: figure_file(run, step["id"]) for step in run.spec["steps"]}
    return {
        step: FigureSpec.from_json(read_text(path, "figure"))
        for step, path in files.items()
        if path is not None
    }


def partial_result(run: Run, step: str) -> Result | None:
    """What a step that is under way has found so far; None where it keeps nothing to look at."""
    folder = run.path / "partial" / step / PARTIAL_FOLDER
    try:
        return load_result(folder) if (folder / RESULT_FILE).is_file() else None
    except StoreError:  # replaced, or finished and removed, between the look and the reading
        return None


def figure_file(run: Run, step: str) -> Path | None:
    """Where the figure of a step is stored; None where there is none yet."""
    path = run.figures / f"{step}.figure.json"
    return path if path.is_file() else None
