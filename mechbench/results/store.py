"""Runs on disk: a folder for each, found again by the hash of its spec, and resumable.

    root/20260131-142500-acronyms-1a2b3c4d/
      spec.json     the spec and its hash
      status.json   state, steps with their times, process, error
      results/STEP/ one result each (``mechbench.results.io``)
      partial/      what an unfinished step has computed so far
      figures/      exported figures
      log.txt

Every file but the log is replaced whole, so a run that was stopped at any moment can be resumed.
"""

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mechbench.errors import StoreError, did_you_mean
from mechbench.results.codec import content_hash, encode
from mechbench.results.files import make_folder, store_error
from mechbench.results.run import Run, Status, open_run, start_run

_RUN_ID = re.compile(r"\d{8}-\d{6}-.+-[0-9a-f]{8}")


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """One line of the list of runs."""

    run_id: str
    path: Path
    spec_hash: str
    status: Status


@dataclass(frozen=True)
class RunStore:
    """All runs below one folder, which is created by the first run."""

    root: Path

    def create(self, spec: Mapping[str, Any], *, spec_hash: str | None = None, slug: str) -> Run:
        """A new run of ``spec``, with the state "running".

        ``spec_hash`` is the hash of the spec without what cannot change a number (where to write);
        by default that of the whole spec. ``slug`` is a word for people in the folder's name.

        Raises
            StoreError where the folder cannot be created or written.
        """
        spec_hash = spec_hash or content_hash(dict(spec))
        stem = re.sub(r"[^a-z0-9]+", "-", slug.lower()).strip("-")[:40] or "run"
        path = self._new_folder(f"{stem}-{spec_hash[:8]}")
        return start_run(path, spec, spec_hash)

    def _new_folder(self, name: str) -> Path:
        make_folder(self.root)
        number = 1
        while True:
            time = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
            stem, _, digits = name.rpartition("-")
            again = f"{stem}-{number}-{digits}" if number > 1 else name
            path = self.root / f"{time}-{again}"
            try:
                path.mkdir()
                return path
            except FileExistsError:
                number += 1
            except OSError as error:
                raise store_error("create the folder", path, error) from error

    def list(self) -> list[RunSummary]:
        """All runs, newest first; a folder whose files are damaged is left out."""
        summaries = []
        for path in _run_folders(self.root):
            with suppress(StoreError):
                run = open_run(path)
                summaries.append(
                    RunSummary(
                        run_id=run.run_id, path=path, spec_hash=run.spec_hash, status=run.status()
                    )
                )
        return summaries

    def find(self, spec_hash: str) -> Run | None:
        """The newest run of the spec with this hash, or None."""
        for path in _run_folders(self.root):
            if path.name.endswith(spec_hash[:8]):
                with suppress(StoreError):
                    run = open_run(path)
                    if run.spec_hash == spec_hash:
                        return run
        return None

    def open(self, name: str) -> Run:
        """The run whose id is ``name``, or the only one whose id or hash starts with it.

        Raises
            StoreError where no run, or more than one, fits (listing them), or it is damaged.
        """
        ids = [path.name for path in _run_folders(self.root)]
        if name in ids:
            return open_run(self.root / name)
        fitting = [i for i in ids if name and (i.startswith(name) or _hash_part(i, name))]
        if len(fitting) == 1:
            return open_run(self.root / fitting[0])
        if fitting:
            raise StoreError(
                f"{name!r} fits {len(fitting)} runs: {', '.join(fitting[:8])}. Give more of the id."
            )
        if not ids:
            raise StoreError(f"There are no runs in {str(self.root)!r}: check the folder.")
        raise StoreError(f"No run {name!r} in {str(self.root)!r}. {did_you_mean(name, ids)}")

    def resume(self, path: Path | str, spec: Mapping[str, Any], *, spec_hash: str) -> Run:
        """The run in the folder ``path``, marked as running again, if it is a run of ``spec``.

        Raises
            StoreError where the folder holds no run, or one of another spec (naming the keys
            that differ).
        """
        run = open_run(Path(path))
        if run.spec_hash != spec_hash:
            different = ", ".join(differences(run.spec, dict(spec))[:8]) or "the hash alone"
            raise StoreError(
                f"The run folder {str(path)!r} was written by another spec; different: "
                f"{different}. Choose another folder, or run the spec that is stored there."
            )
        run.set_status("running")
        return run


def _run_folders(root: Path) -> list[Path]:
    """Run folders below ``root``, newest first."""
    try:
        entries = list(root.iterdir())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise store_error("read", root, error) from error
    found = [p for p in entries if _RUN_ID.fullmatch(p.name) and p.is_dir()]
    return sorted(found, key=lambda p: p.name, reverse=True)


def _hash_part(run_id: str, start: str) -> bool:
    return len(start) >= 4 and run_id.rpartition("-")[2].startswith(start)


def differences(stored: Any, given: Any, at: str = "") -> list[str]:
    """Dotted keys at which two specs differ, with both values where they are short."""
    if isinstance(stored, dict) and isinstance(given, dict):
        found = []
        for key in [*stored, *(k for k in given if k not in stored)]:
            where = f"{at}.{key}" if at else str(key)
            if key not in given:
                found.append(f"{where} (only in the folder)")
            elif key not in stored:
                found.append(f"{where} (only in the given spec)")
            else:
                found += differences(stored[key], given[key], where)
        return found
    if encode(stored) == encode(given):
        return []
    pair = f"{at} (there {stored!r}, given {given!r})"
    return [pair if len(pair) < 120 else at]
