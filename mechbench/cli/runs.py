"""``mechbench runs`` and ``mechbench show``."""

from mechbench.cli.options import DEFAULT_STORE, RunName, Store


def runs(store: Store = DEFAULT_STORE) -> None:
    """List the runs of a folder, newest first."""
    from mechbench.cli.console import say
    from mechbench.cli.summary import print_table
    from mechbench.experiments.tables import TextTable
    from mechbench.results.run import open_run
    from mechbench.results.store import RunStore

    found = RunStore(store).list()
    if not found:
        say(f"There are no runs in {store}. 'mechbench run acronyms' makes one.")
        return
    rows = []
    for summary in found:
        spec, status = open_run(summary.path).spec, summary.status
        rows.append((summary.run_id, status.state, spec["model"]["name"], status.created))
    print_table(TextTable(("run", "status", "model", "created"), tuple(rows)))


def show(run: RunName, store: Store = DEFAULT_STORE) -> None:
    """Show what a run found: its tables, headline numbers and files."""
    from mechbench.cli.summary import print_summary
    from mechbench.experiments.saved import find_run

    print_summary(find_run(run, store))
