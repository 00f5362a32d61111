"""``mechbench runs`` and ``mechbench show``."""

from mechbench.cli.options import DEFAULT_STORE, RunName, Store


def runs(store: Store = DEFAULT_STORE) -> None:
    """List the runs of a folder, newest first."""
    from mechbench.cli.console import say
    from mechbench.cli.summary import print_table
    from mechbench.experiments.tables import TextTable
    from mechbench.results.store import RunStore

    found = RunStore(store).runs()
    if not found:
        say(f"There are no runs in {store}. 'mechbench run acronyms' makes one.")
        return
    rows = tuple(
        (run.path.name, run.status, str(run.spec["model"]["name"]), run.created) for run in found
    )
    print_table(TextTable(("run", "status", "model", "created"), rows))


def show(run: RunName, store: Store = DEFAULT_STORE) -> None:
    """Show what a run found: its tables, headline numbers and files."""
    from mechbench.cli.summary import print_summary
    from mechbench.results.store import RunStore

    print_summary(RunStore(store).open(run))
