"""Typed pairs, kept and read as the task ``pairs``."""

import json

import pytest

from mechbench.errors import TaskError
from mechbench.tasks.typed_pairs import TypedPair, keep_pairs, kept_pairs, split_pairs, typed_pairs


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


def test_several_wrong_answers(tmp_path):
    pairs = typed_pairs("a\nb", "c\nd", "1\n2", " x| y\n z")
    assert pairs[0].wrong_answers == (" x", " y") and pairs[1].wrong_answers == (" z",)
    assert [pair.wrong_line for pair in pairs] == [" x| y", " z"]
    path = keep_pairs(pairs, tmp_path)
    assert kept_pairs(path) == pairs
    assert json.loads(path.read_text().splitlines()[0])["wrong"] == [" x", " y"]
    with pytest.raises(TaskError, match="wrong answers is empty"):
        typed_pairs("a", "b", "c", "x|")


class Letters:
    """A tokenizer of characters."""

    def __call__(self, texts, **options):
        return {"input_ids": [[ord(c) for c in text] for text in texts]}

    def decode(self, ids):
        return "".join(map(chr, ids))


def test_pairs_are_split_also_where_lengths_differ():
    even, odd = split_pairs(Letters(), [TypedPair("ab", "cd", "x"), TypedPair("ab", "cde", "x")])
    assert even.same_length and even.corrupted == ("c", "d")
    assert not odd.same_length and odd.corrupted == ("c", "d", "e")
