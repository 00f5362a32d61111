"""Typed pairs, kept and read as the task ``pairs``."""

import pytest

from mechbench.errors import TaskError
from mechbench.tasks.typed_pairs import TypedPair, keep_pairs, kept_pairs, typed_pairs


def test_kept_pairs_are_what_was_typed(tmp_path):
    pairs = typed_pairs("a b\nc d\n", "a x\nc y", " one\n two", " three\n four\n")
    assert pairs[1] == TypedPair("c d", "c y", " two", " four")
    path = keep_pairs(pairs, tmp_path / "prompts")
    assert kept_pairs(path) == pairs and keep_pairs(pairs, tmp_path / "prompts") == path
    assert keep_pairs(pairs[:1], tmp_path / "prompts") != path
    assert [p.suffix for p in path.parent.iterdir()] == [".jsonl"] * 2


def test_what_does_not_fit_is_told():
    for texts, reason in (
        (("a", "b\nc", "d"), "1 clean prompts, 2 corrupted prompts, 1 answers"),
        (("", "", ""), "0 clean prompts"),
        (("a\n\nb", "a\nb\nc", "1\n2\n3"), "Line 2 of the clean prompts is empty"),
        (("a" * 2001, "b", "c"), "2001 characters"),
        (("a\n" * 257, "b\n" * 257, "c\n" * 257), "256 are the most"),
    ):
        with pytest.raises(TaskError, match=reason):
            typed_pairs(*texts)


def test_no_or_foreign_files(tmp_path):
    with pytest.raises(TaskError, match="No prompts"):
        kept_pairs(tmp_path / "none.jsonl")
    (tmp_path / "other.jsonl").write_text('{"x": 1}\n')
    with pytest.raises(TaskError, match="cannot be read"):
        kept_pairs(tmp_path / "other.jsonl")
