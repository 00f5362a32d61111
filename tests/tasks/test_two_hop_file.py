"""Two-hop queries from files: columns, aliases, families, and rows that are refused."""

import csv
import json

import pytest
from datasets import Dataset

from mechbench.errors import TaskError
from mechbench.resources import bundled
from mechbench.tasks.registry import build_task
from mechbench.tasks.two_hop_file import load_two_hop

ROW = {
    "id": "0",
    "e1": "Q1971",
    "e1_label": "Imagine",
    "e2_label": "John Lennon",
    "e3_label": "Yoko Ono",
    "e1_aliases": "[]",
    "e2_aliases": "['Lennon', 'J', \"John 'W.' Lennon\"]",
    "e3_aliases": "['Ono']",
    "e2_type": "human",
    "r1_template": "the performer of {}",
    "r2_template": "the spouse of {}",
    "source_prompt": "the spouse of the performer of Imagine is",
    "composition_correct": "True",
}
OTHER = {
    **ROW,
    "id": "1",
    "e1_label": "Thriller",
    "e2_label": "Michael Jackson",
    "e3_label": "Lisa Marie Presley",
    "e2_aliases": "",
    "e3_aliases": "nan",
    "source_prompt": "the spouse of the performer of Thriller is",
}


def write(folder, rows, name="two_hop.csv"):
    path = folder / name
    if name.endswith("jsonl"):
        path.write_text("\n".join(json.dumps(row) for row in rows), "utf-8")
        return path
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def error_of(folder, rows, gpt2, **options):
    with pytest.raises(TaskError) as caught:
        load_two_hop(write(folder, rows), gpt2, **options)
    return str(caught.value)


def without(row, *columns):
    return {key: value for key, value in row.items() if key not in columns}


def test_published_layout(gpt2, tmp_path):
    task = load_two_hop(write(tmp_path, [ROW, OTHER]), gpt2)
    assert task.texts() == (ROW["source_prompt"], OTHER["source_prompt"])
    first, second = task.queries
    assert first.e2.aliases == ("Lennon", "J", "John 'W.' Lennon") and first.e2_type == "human"
    assert second.e2.aliases == second.e3.aliases == ()
    assert task.source["file"] == "two_hop.csv" and task.source["left_out"] == 0
    assert len(load_two_hop(write(tmp_path, [ROW, OTHER]), gpt2, n=1)) == 1


def test_other_containers_give_the_same_task(gpt2, tmp_path):
    expected = load_two_hop(write(tmp_path, [ROW, OTHER]), gpt2)
    lists = [
        {**ROW, "e1_aliases": [], "e2_aliases": list(expected.queries[0].e2.aliases)}
        | {"e3_aliases": ["Ono"]},
        {**OTHER, "e1_aliases": [], "e2_aliases": [], "e3_aliases": []},
    ]
    Dataset.from_list(lists).save_to_disk(str(tmp_path / "saved"))
    for source in (
        write(tmp_path, lists, "two_hop.jsonl"),
        Dataset.from_list(lists),
        str(tmp_path / "saved"),
    ):
        assert load_two_hop(source, gpt2).queries == expected.queries
    built = build_task("two_hop_file", gpt2, path=str(tmp_path / "two_hop.csv"), n=1)
    assert built.queries == expected.queries[:1]


def test_labels_of_relations_stand_for_missing_templates(gpt2, tmp_path):
    row = {**without(ROW, "r1_template", "r2_template"), "r1_label": "performer"}
    task = load_two_hop(write(tmp_path, [{**row, "r2_label": "spouse"}]), gpt2)
    assert task.texts() == (ROW["source_prompt"],)


def test_entity_first(gpt2, tmp_path):
    row = {**without(ROW, "source_prompt"), "r2_template": "{} has a spouse named"}
    task = load_two_hop(write(tmp_path, [row]), gpt2, family="entity_first")
    assert task.texts() == ("the performer of Imagine has a spouse named",)
    assert task.texts("second_hop") == ("John Lennon has a spouse named",)
    assert gpt2.decode([int(task.clean[0, task.t1[0]])]) == " Imagine"
    assert "family 'relation_first'" in error_of(tmp_path, [row], gpt2)


def test_missing_columns_name_those_that_are_there(gpt2, tmp_path):
    message = error_of(tmp_path, [without(ROW, "e2_label")], gpt2)
    assert "no column 'e2_label'" in message and "'e3_label'" in message
    message = error_of(tmp_path, [without(ROW, "r2_template")], gpt2)
    assert "neither a column r2_template nor r2_label" in message and "'r1_template'" in message


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"e3_label": " "}, "e3_label must be text"),
        ({"e3_label": "Imagine"}, "must differ"),
        ({"e2_aliases": "['a'"}, "e2_aliases=\"['a'\" is not a list"),
        ({"e2_aliases": "[1]"}, "is not a list of texts"),
        ({"r1_template": "performer"}, "one gap"),
        ({"source_prompt": "Imagine?"}, "its prompt is 'Imagine?'"),
        ({"e1_label": "Ima", "r1_template": "{}gine"}, "whole tokens: ['the', ' spouse'"),
    ],
)
def test_bad_rows_are_listed_with_lines_or_skipped(gpt2, tmp_path, change, reason):
    spoiled = {**without(ROW, "source_prompt"), "source_prompt": "", **change}
    message = error_of(tmp_path, [OTHER, spoiled], gpt2)
    assert "1 of 2 rows of two_hop.csv" in message and "line 3: " in message and reason in message
    task = load_two_hop(write(tmp_path, [OTHER, spoiled]), gpt2, bad_rows="skip")
    assert len(task) == 1 and task.source["left_out"] == 1
    assert "1 of 1 rows" in error_of(tmp_path, [spoiled], gpt2, bad_rows="skip")


def test_the_queries_of_the_gpt2_spec_are_usable(gpt2):
    task = load_two_hop(bundled("circuits") / "two_hop_gpt2" / "queries.csv", gpt2)
    assert len(task) == 27 and task.source["left_out"] == 0
    assert all(query.e2_type for query in task.queries) and len(task.partners) == 27


def test_n_below_one(gpt2, tmp_path):
    assert "n of at least 1" in error_of(tmp_path, [ROW], gpt2, n=0)
