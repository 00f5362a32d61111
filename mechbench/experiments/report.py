"""``report.html``: everything a run found, in one file that needs nothing else."""

from base64 import b64encode
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from mechbench.experiments.published import published_section
from mechbench.experiments.saved import saved_figures, saved_results
from mechbench.experiments.speed import load_speed
from mechbench.experiments.summary import headline, summary_tables
from mechbench.experiments.tables import TextTable
from mechbench.figures.spec import FigureSpec
from mechbench.results.base import Provenance, Result
from mechbench.results.files import write_atomically
from mechbench.results.run import Run

REPORT_FILE = "report.html"
_SHOWN_FILES = ("html", "pdf", "svg", "png", "csv")


@dataclass(frozen=True)
class ReportFigure:
    """A figure with its picture inside, and its files beside the report."""

    step: str
    title: str
    caption: str
    image: str
    files: tuple[tuple[str, str], ...]


def write_report(run: Run) -> Path:
    """The path of the report of what ``run`` has saved so far.

    Raises:
        StoreError: a result or figure is damaged, or the report cannot be written.
    """
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    source = files("mechbench.experiments") / "templates" / "report.html.j2"
    template = environment.from_string(source.read_text(encoding="utf-8"))
    return write_atomically(run.path / REPORT_FILE, template.render(page=_page(run)) + "\n")


def _page(run: Run) -> dict[str, Any]:
    spec = run.spec
    results = saved_results(run)
    first = next(iter(results.values()), None)
    model = first.provenance.model if first else spec["model"]["name"]
    published = published_section(results)
    speed = load_speed(run.path)
    return {
        "title": spec["title"] or spec["name"],
        "subtitle": f"Model {model}, task {spec['task']['name']}, seed {spec['seed']}.",
        "status": run.status().state,
        "model": model,
        "headline": [*headline(results), *([speed.sentence] if speed else [])],
        "tables": summary_tables(results),
        "published_text": published.text,
        "published_tables": published.tables,
        "untested": published.untested,
        "figures": [_figure(run, step, figure) for step, figure in saved_figures(run).items()],
        "provenance": _provenance(first.provenance if first else None, run),
        "steps": _steps(spec, results),
        "command": f"mechbench run {run.path.name}/spec.yaml",
    }


def _figure(run: Run, step: str, figure: FigureSpec) -> ReportFigure:
    picture = b64encode((run.figures / f"{step}.svg").read_bytes()).decode("ascii")
    beside = [run.figures / f"{step}.{kind}" for kind in _SHOWN_FILES]
    shown = [(p.suffix[1:].upper(), p.relative_to(run.path).as_posix()) for p in beside]
    return ReportFigure(
        step=step,
        title=figure.title,
        caption=figure.caption,
        image=f"data:image/svg+xml;base64,{picture}",
        files=tuple(f for f, path in zip(shown, beside, strict=True) if path.is_file()),
    )


def _provenance(provenance: Provenance | None, run: Run) -> TextTable:
    rows = [("run", run.path.name), ("spec hash", run.spec_hash), ("status", run.status().state)]
    if provenance is not None:
        versions = ", ".join(f"{k} {v}" for k, v in provenance.versions.items())
        rows += [
            ("model", provenance.model),
            ("weights", provenance.model_revision),
            ("weight processing", provenance.processing),
            ("task", f"{provenance.task}, seed {provenance.task_seed}"),
            ("prompts", str(provenance.n_prompts)),
            ("dtype and device", f"{provenance.dtype} on {provenance.device}"),
            ("versions", versions),
            ("source revision", provenance.git or "installed package"),
            ("created", provenance.created),
        ]
    return TextTable(("what", "value"), tuple(rows))


def _steps(spec: dict[str, Any], results: dict[str, Result]) -> TextTable:
    rows = []
    for step in spec["steps"]:
        result = results.get(step["id"])
        params = ", ".join(f"{k}={v}" for k, v in step["params"].items()) or "defaults"
        prompts = str(result.provenance.n_prompts) if result else ""
        seconds = f"{result.provenance.wall_time_s:.1f}" if result else "not run"
        rows.append((step["id"], step["analysis"], params, prompts, seconds))
    return TextTable(("step", "analysis", "parameters", "prompts", "seconds"), tuple(rows))
