"""Removing a run from the store."""

from pathlib import Path
from shutil import rmtree

from mechbench.errors import StoreError
from mechbench.experiments.claims import under_way
from mechbench.results.files import store_error
from mechbench.results.store import RunStore


def delete_run(store: RunStore, run_id: str) -> Path:
    """The folder that was deleted, of the run with exactly this id.

    Raises:
        StoreError: no such run below the store, or it is waiting or running,
            or a file cannot be removed.
    """
    run = store.open(run_id)
    if run.run_id != run_id or run.path.parent != store.root:
        raise StoreError(f"{run_id!r} is not the full id of a run in {str(store.root)!r}.")
    if under_way(run.status()):
        raise StoreError(f"The run {run_id!r} is waiting or running: cancel it first.")
    try:
        rmtree(run.path)
    except OSError as error:
        raise store_error("delete", run.path, error) from error
    return run.path
