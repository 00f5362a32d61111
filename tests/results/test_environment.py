"""Facts for the provenance: read without importing what they are about."""

import re
import subprocess
import sys
from importlib.metadata import version

from mechbench.results import environment
from mechbench.results.files import write_atomically


def test_versions_name_what_can_change_a_number():
    versions = environment.package_versions()
    assert set(versions) == {"mechbench", "python", "torch", "transformer_lens", "numpy"}
    assert versions["torch"] == version("torch")
    assert versions["python"] == ".".join(map(str, sys.version_info[:3]))


def test_the_revision_is_the_commit_of_this_tree(monkeypatch, tmp_path):
    revision = environment.git_revision()
    assert revision is None or re.fullmatch(r"[0-9a-f]{40}(\+changes)?", revision)
    monkeypatch.setattr(environment.mechbench, "__file__", str(tmp_path / "mechbench" / "x.py"))
    assert environment.git_revision() is None
    for line in ("init -q", "config user.email a@b", "config user.name a"):
        subprocess.run(["git", "-C", str(tmp_path), *line.split()], check=True)
    write_atomically(tmp_path / "mechbench" / "x.py", "1")
    assert environment.git_revision() is None  # no commit yet
    for line in ("add -A", "commit -qm first"):
        subprocess.run(["git", "-C", str(tmp_path), *line.split()], check=True)
    clean = environment.git_revision()
    assert clean is not None and re.fullmatch(r"[0-9a-f]{40}", clean)
    write_atomically(tmp_path / "mechbench" / "x.py", "2")
    assert environment.git_revision() == clean + "+changes"


def test_times_are_utc():
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", environment.utc_now())


def test_written_files_follow_the_umask(tmp_path):
    plain = tmp_path / "plain"
    plain.write_text("x")
    written = write_atomically(tmp_path / "atomic", "x")
    assert written.stat().st_mode == plain.stat().st_mode
