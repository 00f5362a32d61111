"""The runs of a store as lines of a table, for those who may see them."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mechbench.errors import StoreError
from mechbench.results.files import read_text, write_atomically
from mechbench.results.run import Run, open_run
from mechbench.results.store import RunStore

_OWNERS = "owners.txt"


@dataclass(frozen=True, kw_only=True)
class RunLine:
    """A run: what it is about, and what became of it. ``created`` is ISO 8601 in UTC."""

    run_id: str
    title: str
    model: str
    task: str
    seed: int
    state: str
    created: str
    wall_time_s: float
    analyses: tuple[str, ...]

    @property
    def words(self) -> str:
        """All that a search looks through, in small letters."""
        parts = (self.run_id, self.title, self.model, self.task, self.state, *self.analyses)
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


def _line(run: Run) -> RunLine:
    spec, status = run.spec, run.status()
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
    )
