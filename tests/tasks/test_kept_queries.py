"""Files of queries that users bring: kept under a name made of them, or refused in words."""

import csv
import json
from io import StringIO

import pytest

from mechbench.errors import TaskError
from mechbench.tasks.kept_queries import MOST_MEGABYTES, MOST_ROWS, keep_queries, kept_queries
from mechbench.tasks.two_hop_file import load_two_hop
from tests.tasks.test_two_hop_file import OTHER, ROW


def as_csv(rows):
    text = StringIO()
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def as_jsonl(rows):
    return "\n".join(json.dumps(row) for row in rows).encode()


@pytest.mark.parametrize(("name", "write"), [("own.csv", as_csv), ("Own.JSONL", as_jsonl)])
def test_a_file_is_kept_as_it_is_and_found_by_its_id(name, write, gpt2, tmp_path):
    content = write([ROW, OTHER])
    path = keep_queries(name, content, tmp_path / "prompts")
    assert path.read_bytes() == content and len(path.stem) == 16
    assert keep_queries(f"other-{name}", content, path.parent) == path
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    assert kept_queries(path.stem, path.parent) == path
    assert len(load_two_hop(path, gpt2)) == 2


def test_an_id_of_nothing(tmp_path):
    with pytest.raises(TaskError, match="bring the file again"):
        kept_queries("0123456789abcdef", tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("own.pkl", b"", "not a .csv or .jsonl"),
        ("own.csv", b"", "own.csv is empty"),
        ("own.csv", b"\xff\xfe\x00", "own.csv is not UTF-8"),
        ("own.csv", b"a,b\n1,2\n", "own.csv has no column 'e1_label'"),
        ("own.csv", as_csv([{**ROW, "e2_label": " "}]), "line 2: e2_label must be text"),
        ("own.csv", as_csv([{**ROW, "r1_template": ""}]), "needs r1_template or r1_label"),
        ("own.csv", as_csv([{**ROW, "id": "9" * 2001}]), "id has more than 2000"),
        ("own.jsonl", b"[1]\n{", "line 1: a JSON list where an object"),
        ("own.jsonl", as_jsonl([{**ROW, "e1_label": ["x"]}]), "e1_label must be text"),
        ("own.csv", b"x" * (MOST_MEGABYTES * 2**20 + 1), "are the most"),
        ("own.csv", as_csv([ROW] * (MOST_ROWS + 1)), f"{MOST_ROWS} are the most"),
    ],
)
def test_other_files_are_refused_and_not_kept(name, content, told, tmp_path):
    with pytest.raises(TaskError, match=told) as caught:
        keep_queries(name, content, tmp_path)
    assert str(tmp_path) not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_aliases_nested_too_deep_are_refused(gpt2, tmp_path):
    path = keep_queries("own.csv", as_csv([{**ROW, "e2_aliases": "[" * 1000}, OTHER]), tmp_path)
    with pytest.raises(TaskError, match="not a list of texts"):
        load_two_hop(path, gpt2)
    path = keep_queries("own.csv", as_csv([{**ROW, "e2_aliases": "-" * 1900 + "1"}]), tmp_path)
    with pytest.raises(TaskError, match="not a list of texts"):
        load_two_hop(path, gpt2)
