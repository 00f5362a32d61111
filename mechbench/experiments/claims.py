"""Which run folder an experiment works in. Opening or creating one needs no torch."""

import os

from psutil import pid_exists

from mechbench.errors import StoreError
from mechbench.experiments.spec import ExperimentSpec
from mechbench.results.run import Run, Status
from mechbench.results.store import RunStore

FINISHED = "finished"
_UNDER_WAY = ("queued", "running")


def claim_run(spec: ExperimentSpec, store: RunStore, *, resume: bool, force: bool) -> Run:
    """The run of ``spec`` to work in, new or unfinished; or the finished one.

    Raises:
        StoreError: another process works on it, it is unfinished and ``resume`` is false, or the
            folder cannot be written.
    """
    digest = spec.digest()
    if (store.root / "spec.json").is_file():
        if not resume:
            raise StoreError(
                f"{str(store.root)!r} is the folder of one run: give the folder that holds the "
                "runs, or add --resume to go on with that run."
            )
        return RunStore(store.root.parent).resume(store.root, spec.canonical(), spec_hash=digest)
    found = None if force else store.find(digest)
    if found is None:
        return store.create(spec.canonical(), spec_hash=digest, slug=spec.name)
    status = found.status()
    if status.state == FINISHED:
        return found
    if under_way(status) and status.pid != os.getpid():
        raise StoreError(
            f"{str(found.path)!r} is being run by process {status.pid}: wait for it, or add "
            "--force to start another run of the same spec."
        )
    if not resume:
        raise StoreError(
            f"{str(found.path)!r} holds an unfinished run of this spec ({status.state}): add "
            "--resume to go on with it, or --force to start a new one."
        )
    return store.resume(found.path, spec.canonical(), spec_hash=digest)


def under_way(status: Status) -> bool:
    """True where a process that is alive has the run waiting or running."""
    return status.state in _UNDER_WAY and pid_exists(status.pid)
