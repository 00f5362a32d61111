"""Facts about this machine and source tree that go into a result's provenance."""

import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import mechbench

_PACKAGES = {"torch": "torch", "transformer_lens": "transformer-lens", "numpy": "numpy"}


def package_versions() -> dict[str, str]:
    """Versions of Python, mechbench and the packages that can change a number; imports none."""
    versions = {"mechbench": mechbench.__version__, "python": platform.python_version()}
    for name, distribution in _PACKAGES.items():
        try:
            versions[name] = version(distribution)
        except PackageNotFoundError:
            versions[name] = "not installed"
    return versions


def git_revision() -> str | None:
    """The commit of mechbench's source tree, with "+changes" where tracked files differ from it.

    None where mechbench is installed as a package, or git is absent.
    """
    root = Path(mechbench.__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None
    try:
        commit = _git(root, "rev-parse", "HEAD")
        changed = _git(root, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return None
    return commit + ("+changes" if changed else "")


def utc_now() -> str:
    """The time now as ISO 8601 in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True, timeout=10
    )
    return done.stdout.strip()
