"""Questions from files and data sets: the published columns, one's own, and what is refused."""

import json
import re

import pytest
import torch
from datasets import Dataset, DatasetDict

from mechbench.errors import TaskError, TokenizerError
from mechbench.tasks.choices_file import choices_file, load_choices
from mechbench.tasks.registry import build_task

# Rows of the data sets' columns and types; the questions are our own.
ARC = [
    {
        "id": "OWN_1",
        "question": "Which of these is a gas at room temperature?",
        "choices": {"text": ["iron", "oxygen", "salt", "wood"], "label": ["A", "B", "C", "D"]},
        "answerKey": "B",
    },
    {
        "id": "OWN_2",
        "question": "A ball rolls down a hill. Its speed",
        "choices": {"text": ["grows", "shrinks", "stays the same"], "label": ["1", "2", "3"]},
        "answerKey": "1",
    },
]
CSQA = [
    {
        "id": "own1",
        "question": "Where would you keep milk?",
        "question_concept": "milk",
        "choices": {
            "label": ["A", "B", "C", "D", "E"],
            "text": ["a fridge", "a shoe", "the sea", "a book", "a lamp"],
        },
        "answerKey": "A",
    }
]
RELEASED = [
    {
        "answerKey": row["answerKey"],
        "id": row["id"],
        "question": {
            "stem": row["question"],
            "choices": [
                {"label": label, "text": text}
                for label, text in zip(*row["choices"].values(), strict=True)
            ],
        },
    }
    for row in CSQA
]


def write_jsonl(folder, rows, name="mine.jsonl"):
    path = folder / name
    path.write_text("\n".join(json.dumps(row) for row in rows), "utf-8")
    return path


def write_csv(folder, header, rows, name="mine.csv"):
    path = folder / name
    lines = [",".join('"' + f.replace('"', '""') + '"' for f in row) for row in rows]
    path.write_text("\n".join([header, *lines]) + "\n", "utf-8")
    return path


def message_of(error, tokenizer, source, **options):
    with pytest.raises(error) as caught:
        choices_file(tokenizer, source, **options)
    return str(caught.value)


def test_the_columns_of_arc(gpt2, tmp_path):
    """Labels of the rows may be digits; those of the prompts are ours."""
    task = load_choices(write_jsonl(tmp_path, ARC, "arc.jsonl"), gpt2)
    assert task.sets == ("arc", "arc") and task.n_options.tolist() == [4, 3]
    assert task.gold.tolist() == [1, 0] and task.labels == ("A", "B", "C", "D")
    assert task.texts[0] == (
        "Question: Which of these is a gas at room temperature? Answer Choices: "
        "A: iron B: oxygen C: salt D: wood Answer:"
    )
    assert task.texts[1].startswith("Question: A ball rolls down a hill. Its speed? Answer")
    ends = task.option_positions[1, :3].tolist()
    row = task.clean[1].tolist()
    assert [gpt2.decode([row[i]]) for i in ends] == [" grows", "inks", " same"]
    assert [gpt2.decode([row[i]]) for i in task.label_positions[1, :3]] == [" A", " B", " C"]


def test_the_columns_of_commonsenseqa_and_those_of_its_release(gpt2, tmp_path):
    tasks = [
        load_choices(Dataset.from_list(CSQA), gpt2, set_name="csqa"),
        load_choices(write_jsonl(tmp_path, RELEASED, "csqa.jsonl"), gpt2),
    ]
    for task in tasks:
        assert task.n_options.tolist() == [5] and task.gold.tolist() == [0]
        assert task.items[0].options == tuple(CSQA[0]["choices"]["text"])
        assert task.sets == ("csqa",)
    assert tasks[0].texts == tasks[1].texts


def test_every_source_gives_one_task(gpt2, tmp_path):
    dataset = Dataset.from_list(ARC)
    dataset.save_to_disk(str(tmp_path / "saved"))
    DatasetDict({"train": dataset.select([1]), "test": dataset}).save_to_disk(tmp_path / "splits")
    dataset.to_parquet(str(tmp_path / "arc.parquet"))
    folder = tmp_path / "files"
    folder.mkdir()
    dataset.to_parquet(str(folder / "train.parquet"))
    rows = [
        (r["question"], json.dumps(r["choices"]["text"]), r["choices"]["text"][gold])
        for r, gold in zip(ARC, (1, 0), strict=True)
    ]
    columns = {"question": "asked", "options": "offered", "answer": "right"}
    tasks = [
        choices_file(gpt2, write_jsonl(tmp_path, ARC)),
        choices_file(gpt2, tmp_path / "saved"),
        choices_file(gpt2, tmp_path / "splits", split="test"),
        choices_file(gpt2, tmp_path / "arc.parquet"),
        choices_file(gpt2, folder),
        choices_file(gpt2, write_csv(tmp_path, "asked,offered,right", rows), **columns),
        build_task("choices_file", gpt2, path=tmp_path / "arc.parquet"),
    ]
    for task in tasks:
        assert task.texts == tasks[0].texts and torch.equal(task.gold, tasks[0].gold)
        assert str(tmp_path) not in json.dumps(task.source)


def test_a_column_for_each_option_with_some_empty(gpt2, tmp_path):
    rows = [("Which is red", "a rose", "grass", "", "B"), ("Which is green", "x", "y", "z", "C")]
    task = choices_file(gpt2, write_csv(tmp_path, "question,A,B,C,answer", rows))
    assert task.n_options.tolist() == [2, 3] and task.gold.tolist() == [1, 2]
    named = write_csv(tmp_path, "question,one,two,three,answer", rows, "named.csv")
    message = message_of(TaskError, gpt2, named, options=["one", "two", "three"])
    assert "line 2: answer 'B' is none of the options ['a rose', 'grass']" in message


@pytest.mark.parametrize(
    ("answer", "first_index", "gold"), [(1, 0, 1), ("1", 1, 0), ("B", 0, 1), ("blue", 0, 1)]
)
def test_answers_by_number_label_or_text(gpt2, answer, first_index, gold):
    rows = [{"question": "Which", "options": ["red", "blue"], "answer": answer}]
    task = choices_file(gpt2, Dataset.from_list(rows), first_index=first_index)
    assert task.gold.tolist() == [gold]


def test_numbers_are_options_and_are_found_by_their_text_first(gpt2):
    rows = [{"question": "What is 1 + 1", "options": [1, 2, 3], "answer": 2}]
    assert choices_file(gpt2, Dataset.from_list(rows)).items[0].options[1] == "2"
    task = choices_file(gpt2, Dataset.from_list(rows))
    assert task.gold.tolist() == [1]


def test_sets_places_and_labels(gpt2, tmp_path):
    rows = [
        {"question": f"Which is number {i}", "options": ["one", "two", "six"], "answer": 0, "s": s}
        for i, s in enumerate("aabbab")
    ]
    path = write_jsonl(tmp_path, rows)
    task = choices_file(gpt2, path, set_column="s", gold="not_first", labels="P")
    assert task.sets == tuple("aabbab") and task.labels == ("P", "Q", "R")
    for name in "ab":
        golds = [g for g, s in zip(task.gold.tolist(), task.sets, strict=True) if s == name]
        assert sorted(set(golds)) == [1, 2] and len(golds) == 3
    assert all(item.options[item.gold] == "one" for item in task.items)
    assert [item.options[0] for item in task.items] == ["two"] * 6  # the others keep their order
    assert choices_file(gpt2, path).gold.tolist() == [0] * 6
    assert len(choices_file(gpt2, path, n=4)) == 4


def test_a_missing_column_names_those_there_are(gpt2, tmp_path):
    path = write_csv(tmp_path, "text,options,key", [("Which", '["a", "b"]', "A")])
    message = message_of(TaskError, gpt2, path)
    assert "['text', 'options', 'key']" in message and "question='...'" in message
    message = message_of(TaskError, gpt2, path, question="txt")
    assert "no column 'txt'" in message and "['text', 'options', 'key']" in message
    assert "'text'" in message.split("]")[-1]
    message = message_of(TaskError, gpt2, path, question="text", answer="key", set_column="s")
    assert "set_column" in message
    message = message_of(TaskError, gpt2, Dataset.from_list(ARC), answer="key")
    assert "['id', 'question', 'choices', 'answerKey']" in message


BAD = [
    ({"options": ["red"]}, "2 to 5 options are supported, got 1"),
    ({"options": list("uvwxyz")}, "2 to 5 options are supported, got 6"),
    ({"options": ["red", "RED "]}, "'red' and 'RED ' are equal"),
    ({"options": "red; blue"}, "the options are no list: 'red; blue'"),
    ({"options": ["red", None]}, "an option must be text, got None"),
    ({"options": {"text": ["u", "v"], "label": ["A"]}}, "2 options have 1 labels"),
    ({"options": None}, "must be a list of texts, got None"),
    ({"options": ["A", "B"], "answer": "A"}, "the option 'A' is also a label"),
    ({"answer": "C"}, "answer 'C' is none of the options ['red', 'blue']"),
    ({"answer": 2}, "answer 2 is none of"),
    ({"answer": -1}, "answer -1 is none of"),
    ({"answer": ""}, "answer is empty"),
    ({"question": None}, "question must be text, got None"),
    ({"question": " ? "}, "the question is empty"),
]


@pytest.mark.parametrize(("change", "message"), BAD)
def test_bad_rows_are_listed_with_their_lines(gpt2, tmp_path, change, message):
    good = {"question": "Which", "options": ["red", "blue"], "answer": "A"}
    path = write_jsonl(tmp_path, [good, good | change, good])
    found = message_of(TaskError, gpt2, path)
    assert found.startswith("1 of 3 rows of mine.jsonl cannot be used. line 2: ")
    assert message in found
    task = choices_file(gpt2, path, bad_rows="skip")
    assert len(task) == 2 and task.source["left_out"]["bad_rows"] == 1


def test_all_bad_rows_are_an_error_even_when_they_may_be_skipped(gpt2, tmp_path):
    path = write_jsonl(tmp_path, [{"question": "Which", "options": ["a", "b"], "answer": "C"}] * 12)
    message = message_of(TaskError, gpt2, path, bad_rows="skip")
    assert message.startswith("12 of 12 rows") and message.endswith("; and 2 more.")


def test_a_label_of_several_tokens_shows_them_before_anything_else(gpt2):
    source = Dataset.from_list(ARC)
    message = message_of(TokenizerError, gpt2, source, labels=["opta", "optb", "optc", "optd"])
    assert "The label 'opta' must be one token" in message
    shown = [gpt2.decode([i]) for i in gpt2("Answer: opta")["input_ids"]]
    assert re.search(re.escape(str(shown)), message)


def test_sources_that_cannot_be_read(gpt2, tmp_path):
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"no parquet")
    assert "'broken.parquet' cannot be read" in message_of(TaskError, gpt2, broken)
    assert "cannot be read" in message_of(TaskError, gpt2, tmp_path / "absent.parquet")
    assert "n of at least 1" in message_of(TaskError, gpt2, broken, n=0)
    Dataset.from_list(ARC).save_to_disk(str(tmp_path / "saved"))
    DatasetDict({"train": Dataset.from_list(ARC)}).save_to_disk(str(tmp_path / "splits"))
    message = message_of(TaskError, gpt2, tmp_path / "splits", split="test")
    assert "no split 'test'; it has ['train']" in message
