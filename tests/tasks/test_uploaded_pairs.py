"""Uploaded pairs: the three kinds of file, and all that is refused."""

import json

import pytest

from mechbench.errors import TaskError
from mechbench.tasks.typed_pairs import TypedPair
from mechbench.tasks.uploaded_pairs import MOST_BYTES, uploaded_pairs

ROWS = [
    {"clean": "a, b", "corrupted": "c, d", "answer": " x", "wrong": " y"},
    {"clean": "e\nf", "corrupted": "g\nh", "answer": " z", "wrong": " <b>"},
]
PAIRS = [TypedPair(**row) for row in ROWS]


def test_the_three_kinds_are_read_alike():
    texts = {
        "pairs.json": json.dumps(ROWS),
        "pairs.JSONL": "\n".join(json.dumps(row) for row in ROWS) + "\n",
        "pairs.csv": 'clean,corrupted,answer,wrong\n"a, b","c, d", x, y\n"e\nf","g\nh", z, <b>\n',
    }
    for name, text in texts.items():
        assert uploaded_pairs(name, text.encode()) == PAIRS


def test_other_names_of_columns_and_several_wrong_answers():
    row = {"prompt": "a", "counterfactual": "b", "correct": "c", "incorrect": [" d", " e"]}
    (pair,) = uploaded_pairs("x.json", json.dumps([row]).encode())
    assert pair == TypedPair("a", "b", "c", (" d", " e"))


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("x.pkl", b"[]", "no json, jsonl, csv file"),
        ("x", b"[]", "no json"),
        ("x.json", b"\xff\xfe\x00", "UTF-8"),
        ("x.json", b"{", "cannot be read as JSON"),
        ("x.json", b"[" * 100_000, "cannot be read as JSON"),
        ("x.json", b"{}", "holds a dict"),
        ("x.json", b"[1]", "Pair 1 is a int"),
        ("x.json", b"[]", "0 pairs"),
        ("x.jsonl", b'{"clean": "a"}', "Pair 1 has no corrupted"),
        ("x.json", b'[{"clean": 1, "corrupted": "b", "answer": "c"}]', "something else than texts"),
        (
            "x.json",
            b'[{"clean": "a", "corrupted": "b", "answer": "c", "wrong": [1]}]',
            "something else than texts",
        ),
        ("x.csv", b"clean,corrupted\na,b\n", "has no answer"),
        ("x.csv", b'clean,corrupted,answer\n"a,b,c\n', "cannot be read as CSV"),
        ("x.csv", b"clean,corrupted,answer\n,b,c\n", "clean prompts is empty"),
        ("x.json", b" " * (MOST_BYTES + 1), "bytes"),
        ("x.jsonl", b'{"clean": "a", "corrupted": "b", "answer": "c"}\n' * 257, "256 are the most"),
    ],
)
def test_refusals(name, data, reason):
    with pytest.raises(TaskError, match=reason):
        uploaded_pairs(name, data)
