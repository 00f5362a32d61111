"""Users' prompts: what is read, what is refused, and what the refusals say."""

import json

import pytest
from datasets import Dataset, DatasetDict

from mechbench.errors import TaskError
from mechbench.tasks.prompts import load_prompts

GOOD = [
    ("The Ketchup Lark Wreck (", "KLW"),
    ("The Wreck Ketchup Lark", "WKL"),
    ("The Jigsaw Zither Ketchup (JZ", "JZK"),
]


def write_csv(folder, rows, header="prompt,acronym", name="mine.csv"):
    path = folder / name
    path.write_text("\n".join([header, *(",".join(row) for row in rows)]) + "\n", "utf-8")
    return path


def error_of(source, tokenizer, words=()):
    with pytest.raises(TaskError) as caught:
        load_prompts(source, tokenizer, words=words)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_csv_jsonl_and_dataset_give_one_task(gpt2, tmp_path):
    lines = [json.dumps({"acronym": a, "prompt": p, "note": 1}) for p, a in GOOD]
    (tmp_path / "mine.jsonl").write_text("\n\n".join(lines), "utf-8")
    columns = {"prompt": [p for p, _ in GOOD], "acronym": [a for _, a in GOOD]}
    sources = [
        write_csv(tmp_path, GOOD),
        str(tmp_path / "mine.jsonl"),
        Dataset.from_dict(columns),
    ]
    tasks = [load_prompts(source, gpt2, words=["Mummy"]) for source in sources]
    for task in tasks:
        texts = [gpt2.decode(row) for row in task.clean.tolist()]
        assert texts == [
            "<|endoftext|>The Ketchup Lark Wreck (KL",
            "<|endoftext|>The Wreck Ketchup Lark (WK",
            "<|endoftext|>The Jigsaw Zither Ketchup (JZ",
        ]
        assert [gpt2.decode(row) for row in task.answers.tolist()] == ["KLW", "WKL", "JZK"]
        assert task.frame.exact and task.name == "prompts"
    assert [task.source["file"] for task in tasks] == ["mine.csv", "mine.jsonl", "dataset"]


def test_corruptions_and_metric_work(gpt2, tmp_path):
    task = load_prompts(write_csv(tmp_path, GOOD), gpt2, words=["Mummy", "Vocal"])
    pairs = task.pairs("current_word", 2)
    assert (pairs.clean != pairs.corrupt).any(0).nonzero()[:, 0].tolist() == [4, 5]
    assert (pairs.clean[:, 4] != pairs.corrupt[:, 4]).all()
    assert task.metric().positions[0].tolist() == [8, 9, 10]


def test_longer_text_before_the_words(gpt2, tmp_path):
    rows = [("Members of the Ketchup Lark Wreck (", "KLW")]
    task = load_prompts(write_csv(tmp_path, rows), gpt2, words=["Mummy"])
    assert task.frame.labels[:5] == ("BOS", "P1", "P2", "P3", "C1")
    assert gpt2.decode(task.clean[0, 1:]) == "Members of the Ketchup Lark Wreck (KL"
    assert task.frame.answers == (10, 11, 12)


def test_quoted_fields_and_byte_order_mark(gpt2, tmp_path):
    path = tmp_path / "mine.csv"
    text = '\ufeffprompt, acronym\r\n"In short, the Ketchup Lark Wreck (", KLW\r\n'
    path.write_bytes(text.encode("utf-8"))
    task = load_prompts(path, gpt2, words=["Mummy"])
    assert gpt2.decode(task.clean[0, 1:]) == "In short, the Ketchup Lark Wreck (KL"


def test_all_bad_rows_in_one_error_with_lines_and_tokens(gpt2, tmp_path):
    rows = [
        GOOD[0],
        ("The House Lark Wreck (", "HLW"),
        ("The Utopia Sincerity Aback (", "USA"),
        ("The Ketchup Lark Wreck (", "KLM"),
        ("The Ketchup Lark Wreck (", "klw"),
        ("The Ketchup Lark Wreck (", ""),
        ("The Ketchup Lark Wreck (LK", "KLW"),
        ("The Ketchup", " Lark (", "KL"),
    ]
    message = error_of(write_csv(tmp_path, rows), gpt2)
    assert message.startswith("7 of 8 rows of mine.csv cannot be used. line 3: ")
    assert "line 3: 'House' must be the token ' H' and a tail" in message
    assert "['The', ' House', ' L', 'ark', ' W', 'reck', ' (', 'HL', 'W']" in message
    assert "line 4: each letter of 'USA' must be one token after '('" in message
    assert "' (', 'USA']" in message
    assert "line 5: 'The Ketchup Lark Wreck (' must be" in message and "K, L, M" in message
    assert "line 6: acronym 'klw'" in message
    assert "line 7: acronym must be text, got ''" in message
    assert "line 8: '(LK' is not how 'KLW' begins" in message
    assert "line 9: 3 fields where the header has 2" in message


def test_only_ten_bad_rows_are_listed(gpt2, tmp_path):
    message = error_of(write_csv(tmp_path, [("The House (", "H")] * 14), gpt2)
    assert message.startswith("14 of 14 rows")
    assert message.count("line ") == 10 and message.endswith("; and 4 more.")


def test_bad_json_lines(gpt2, tmp_path):
    path = tmp_path / "mine.jsonl"
    good = json.dumps({"prompt": GOOD[0][0], "acronym": "KLW"})
    missing = json.dumps({"prompt": "The Ketchup ("})
    broken = json.dumps({"prompt": "The K\ud800 (", "acronym": "K"})
    path.write_text("\n".join([good, "{", "[1]", missing, broken]), "utf-8")
    message = error_of(path, gpt2)
    assert "line 5: prompt holds half a surrogate pair" in message
    assert message.startswith("4 of 5 rows of mine.jsonl")
    assert "line 2: no JSON" in message and "line 3: a JSON list" in message
    assert "line 4: acronym must be text, got None" in message


def test_unequal_lengths_name_their_lines(gpt2, tmp_path):
    rows = [GOOD[0], ("Of the Ketchup Lark Wreck (", "KLW"), *GOOD[1:], ("The Ketchup Lark", "KL")]
    message = error_of(write_csv(tmp_path, rows), gpt2)
    assert "8 tokens: line 6; 11 tokens: line 2, line 4, line 5; 12 tokens: line 3" in message


def test_one_length_but_another_split(make_toy, tmp_path):
    rows = [("The Kab Lab Wabe (", "KLW"), ("The Kabe Lab Wab (", "KLW")]
    message = error_of(write_csv(tmp_path, rows), make_toy())
    assert "words of 3, 3, 4: line 2" in message and "words of 4, 3, 3: line 3" in message


def test_missing_column(gpt2, tmp_path):
    path = write_csv(tmp_path, GOOD, header="promt,acronym")
    message = error_of(path, gpt2)
    assert "mine.csv has no column 'prompt'; it has ['promt', 'acronym']" in message
    assert "Name the columns prompt and acronym." in message
    message = error_of(Dataset.from_dict({"prompt": ["x"]}), gpt2)
    assert "The dataset has no column 'acronym'; it has ['prompt']" in message


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.csv", b"", "a.csv is empty"),
        ("a.csv", b" \n\n", "a.csv is empty"),
        ("a.csv", b"prompt,acronym\n", "a.csv holds no prompts"),
        ("a.jsonl", b"\n", "a.jsonl is empty"),
        ("a.csv", b"prompt,acronym\nThe K\xe9 (,K\n", "not UTF-8: byte 20 (line 2)"),
        ("a.csv", b'prompt,acronym\n"The K" (,K\n', "a.csv is not CSV at line 2"),
        ("a.txt", b"x", "'a.txt' is not a prompt file"),
    ],
)
def test_unreadable_files(gpt2, tmp_path, name, content, expected):
    (tmp_path / name).write_bytes(content)
    assert expected in error_of(tmp_path / name, gpt2)


def test_missing_file_folder_and_wrong_kinds(gpt2, tmp_path):
    assert "cannot be read: No such file" in error_of(tmp_path / "none.csv", gpt2)
    (tmp_path / "folder.csv").mkdir()
    assert "cannot be read: Is a directory" in error_of(tmp_path / "folder.csv", gpt2)
    dataset = Dataset.from_dict({"prompt": [], "acronym": []})
    assert "holds no prompts" in error_of(dataset, gpt2)
    assert "choose one split" in error_of(DatasetDict({"train": dataset}), gpt2)
    assert "got list" in error_of([{"prompt": "The K"}], gpt2)


def test_dataset_rows_are_numbered_from_zero(gpt2):
    dataset = Dataset.from_dict({"prompt": [GOOD[0][0], None], "acronym": ["KLW", "KLW"]})
    message = error_of(dataset, gpt2)
    assert "row 1: prompt must be text, got None" in message
