"""The runs of a store as lines of a table, for those who may see them."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mechbench.errors import StoreError
from mechbench.results.files import read_text, write_atomically
from mechbench.results.io import load_provenance
from mechbench.results.run import Run, open_run
from mechbench.results.store import RunStore

_OWNERS = "owners.txt"
_SHOWN = 12  # characters of a revision


@dataclass(frozen=True, kw_only=True)
class RunLine:
    """A run: what it is about, and what became of it. ``created`` is ISO 8601 in UTC.

    ``git``, ``weights`` and ``device`` are the source's revision, the beginning of the model's and
    the device, as the first result tells; empty where there is none yet, or it does not tell.
    """

    run_id: str
    title: str
    model: str
    task: str
    seed: int
    state: str
    created: str
    wall_time_s: float
    analyses: tuple[str, ...]
    git: str = ""
    weights: str = ""
    device: str = ""

    @property
    def words(self) -> str:
        """All that a search looks through, in small letters."""
        parts = (self.run_id, self.title, self.model, self.task, self.state, *self.analyses)
        parts += (self.git, self.weights, self.device)
        return " ".join(parts).lower()


def run_lines(store: RunStore, *, owner: str, search: str = "") -> list[RunLine]:
    """The runs that ``owner`` may see and that hold all words of ``search``, newest first."""
    words = search.lower().split()
    found = []
    for summary in store.list():
        try:
            run = open_run(summary.path)
            if visible_to(run, owner):
                found.append(_line(run))
        except StoreError:  # deleted or damaged since the folder was listed
            continue
    return [line for line in found if all(word in line.words for word in words)]


def add_owner(run: Run, owner: str) -> None:
    """From now on the run is listed for ``owner``, and only for those who were added to it.

    Raises:
        StoreError: the folder cannot be written.
    """
    owners = dict.fromkeys([*_owners(run.path), owner])
    write_atomically(run.path / _OWNERS, "".join(f"{name}\n" for name in owners))


def visible_to(run: Run, owner: str) -> bool:
    """True for the run's owners, and for everybody where it has none (a command made it)."""
    owners = _owners(run.path)
    return not owners or owner in owners


def _owners(folder: Path) -> Iterable[str]:
    path = folder / _OWNERS
    return read_text(path, "list of owners").split() if path.is_file() else []


def open_exactly(store: RunStore, run_id: str) -> Run:
    """The run of exactly this id.

    Raises:
        StoreError: there is none. Nothing is said about others, which may be somebody else's.
    """
    try:
        run = store.open(run_id)
    except StoreError:
        run = None
    if run is None or run.run_id != run_id:
        raise StoreError("There is no run of this id here: it was deleted, or the link is cut off.")
    return run


def _line(run: Run) -> RunLine:
    spec, status = run.spec, run.status()
    first = next((step["id"] for step in spec["steps"] if run.has(step["id"])), None)
    origin = None if first is None else load_provenance(run.step_path(first))
    return RunLine(
        run_id=run.run_id,
        title=spec.get("title") or spec.get("name", ""),
        model=spec["model"]["name"],
        task=spec["task"]["name"],
        seed=spec["seed"],
        state=status.state,
        created=status.created,
        wall_time_s=status.wall_time_s,
        analyses=tuple(step["analysis"] for step in spec["steps"]),
        git=(origin.git or "")[:_SHOWN] if origin else "",
        weights=origin.model_revision[:_SHOWN] if origin else "",
        device=origin.device if origin else "",
    )
