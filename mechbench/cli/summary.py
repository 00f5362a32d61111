"""What a run found, on the terminal: tables, headline, and where the files are."""

from rich.markup import escape
from rich.table import Table

from mechbench.cli.console import stdout
from mechbench.experiments.published import published_section
from mechbench.experiments.report import REPORT_FILE
from mechbench.experiments.saved import saved_results
from mechbench.experiments.speed import load_speed
from mechbench.experiments.summary import headline, summary_tables
from mechbench.experiments.tables import TextTable
from mechbench.results.run import Run


def print_summary(run: Run) -> None:
    """Print what ``run`` found so far, and where its report and figures are."""
    results = saved_results(run)
    for table in summary_tables(results):
        print_table(table)
    speed = load_speed(run.path)
    for line in [*headline(results), *([speed.sentence] if speed else [])]:
        stdout.print(escape(line))
    published = published_section(results)
    for table in published.tables if published.comparable else ():
        print_table(table)
    for line in published.untested:
        stdout.print(escape(line))
    stdout.print()
    _print_path("status", run.status().state)
    if (run.path / REPORT_FILE).is_file():
        _print_path("report", str(run.path / REPORT_FILE))
    _print_path("figures", str(run.figures))


def print_table(table: TextTable) -> None:
    """A table with its title and note."""
    if table.title:
        stdout.print(escape(table.title), style="bold")
    drawn = Table(box=None, pad_edge=False)
    for i, column in enumerate(table.columns):
        drawn.add_column(escape(column), justify="right" if i in table.numeric else "left")
    for row in table.rows:
        drawn.add_row(*(escape(cell) for cell in row))
    stdout.print(drawn)
    if table.note:
        stdout.print(escape(table.note), style="dim")
    stdout.print()


def _print_path(label: str, value: str) -> None:
    # Unwrapped, so that a path can be copied from any terminal.
    stdout.print(f"{label:<8} {escape(value)}", soft_wrap=True)
