"""Users' pairs: layouts that are read, rows that are refused, and what the refusals say."""

import json

import datasets
import pytest
import torch
from datasets import Dataset, DatasetDict

from mechbench.errors import TaskError, TokenizerError
from mechbench.tasks.pairs_file import pairs

CLEAN = "When Mary and John went out, John gave a book to"
CORRUPT = "When Mary and John went out, Mary gave a book to"
OTHER = "When Paul and Anna went out, Anna gave a book to"
ROWS = [(CLEAN, CORRUPT, " Mary", " John"), (OTHER, CORRUPT, " Paul", " Anna")]


def write_csv(folder, rows, header="clean,corrupted,answer,wrong", name="mine.csv"):
    path = folder / name
    lines = [",".join(f'"{field}"' for field in row) for row in rows]
    path.write_text("\n".join([header, *lines]) + "\n", "utf-8")
    return path


def write_jsonl(folder, rows, name="mine.jsonl"):
    path = folder / name
    path.write_text("\n".join(json.dumps(row) for row in rows), "utf-8")
    return path


def error_of(source, tokenizer, **options):
    with pytest.raises(TaskError) as caught:
        pairs(tokenizer, source, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


def token(gpt2, text):
    (found,) = gpt2(text)["input_ids"]
    return found


def test_csv_jsonl_dataset_and_saved_folder_give_one_task(gpt2, tmp_path):
    names = ("clean", "corrupted", "answer", "wrong")
    records = [dict(zip(names, row, strict=True)) for row in ROWS]
    dataset = Dataset.from_list(records)
    dataset.save_to_disk(str(tmp_path / "saved"))
    DatasetDict({"train": dataset, "test": dataset.select([1])}).save_to_disk(
        str(tmp_path / "splits")
    )
    (tmp_path / "loose").mkdir()
    write_jsonl(tmp_path / "loose", records, "train.jsonl")
    sources = {
        "mine.csv": write_csv(tmp_path, ROWS),
        "mine.jsonl": str(write_jsonl(tmp_path, records)),
        "dataset": dataset,
        "saved": tmp_path / "saved",
        "splits": str(tmp_path / "splits") + "/",
        "loose": tmp_path / "loose",
    }
    for name, source in sources.items():
        task = pairs(gpt2, source)
        made = task.pairs()
        assert [gpt2.decode(ids) for ids in made.clean] == [
            "<|endoftext|>" + CLEAN,
            "<|endoftext|>" + OTHER,
        ]
        assert gpt2.decode(made.corrupt[1]) == "<|endoftext|>" + CORRUPT
        assert [gpt2.decode(ids) for ids in made.answers] == [" Mary", " Paul"]
        assert made.answer_positions.tolist() == [[made.n_positions - 1]] * 2
        assert task.source["file"] == name and str(tmp_path) not in str(task.source)
        assert len(task) == task.source["n"] == 2
    assert len(pairs(gpt2, tmp_path / "splits", split="test")) == 1
    assert "no split 'val'; it has ['train', 'test']" in error_of(
        tmp_path / "splits", gpt2, split="val"
    )
    assert "cannot be loaded" in error_of(tmp_path / "loose", gpt2, split="nowhere")


def test_metrics_are_plain_loops(gpt2, tmp_path):
    two = '["" Bob"", "" Tom""]'
    rows = [(CLEAN, CORRUPT, " Mary", two), (OTHER, CORRUPT, " Paul", two.replace("Tom", "Kim"))]
    task = pairs(gpt2, write_csv(tmp_path, rows))
    logits = torch.randn(2, 1, len(gpt2), dtype=torch.float64)
    answers = [(" Mary", " Bob", " Tom"), (" Paul", " Bob", " Kim")]
    for b, (right, *wrong) in enumerate(answers):
        row = logits[b, 0]
        values = [float(row[token(gpt2, text)]) for text in wrong]
        expected = {"max": max(values), "mean": sum(values) / 2}
        for against, value in expected.items():
            metric = task.metric(against=against)
            found = float(metric(logits[..., metric.vocab])[b, 0])
            assert abs(found - (float(row[token(gpt2, right)]) - value)) < 1e-12
        log_prob = task.metric("log_prob")
        assert log_prob.vocab is None
        total = float(row.exp().sum().log())
        assert abs(float(log_prob(logits)[b, 0]) - (float(row[token(gpt2, right)]) - total)) < 1e-12
    assert task.metric().name == "logit_diff_max"


def test_without_wrong_answers_the_metric_is_the_log_probability(gpt2, tmp_path):
    task = pairs(gpt2, write_csv(tmp_path, [row[:3] for row in ROWS], "clean,corrupted,answer"))
    assert task.metric().name == "answer_log_prob" and task.wrong is None
    with pytest.raises(TaskError, match="mine.csv names no wrong answers"):
        task.metric("logit_diff")
    with pytest.raises(TaskError, match="Did you mean 'log_prob'"):
        task.metric("logprob")
    with pytest.raises(TaskError, match="Did you mean 'corrupted'"):
        task.pairs("corrupt")


def test_column_names_of_the_user_and_common_spellings(gpt2, tmp_path):
    given = {"clean": "base", "corrupted": "source", "answer": "gold", "wrong": "foil"}
    path = write_csv(tmp_path, ROWS, ",".join(given.values()))
    assert pairs(gpt2, path, **given).answers.tolist() == [
        token(gpt2, " Mary"),
        token(gpt2, " Paul"),
    ]
    assert pairs(gpt2, path, **(given | {"answer": "foil", "wrong": "gold"})).answers.tolist() == [
        token(gpt2, " John"),
        token(gpt2, " Anna"),
    ]
    assert "none of them is a known name for clean (clean, clean_prompt, prompt)" in error_of(
        path, gpt2
    )
    message = error_of(path, gpt2, **(given | {"clean": "bas"}))
    assert "no column 'bas' for clean. Did you mean 'base'" in message
    path = write_csv(tmp_path, ROWS, "prompt,corrupt,correct,incorrect_answers")
    assert pairs(gpt2, path).wrong.tolist() == [[token(gpt2, " John")], [token(gpt2, " Anna")]]


def test_token_ids_as_in_eap_ig_and_its_greater_than_file(gpt2, tmp_path):
    ids = [str(token(gpt2, " Mary")), str(token(gpt2, " John"))]
    header = ",clean,corrupted,corrupted_hard,correct_idx,incorrect_idx"
    task = pairs(gpt2, write_csv(tmp_path, [("470", CLEAN, OTHER, CORRUPT, *ids)], header))
    assert [task.answers.tolist(), *task.wrong.tolist()] == [[int(i)] for i in ids]
    assert gpt2.decode(task.corrupted[0, 1:]) == OTHER
    hard = pairs(gpt2, tmp_path / "mine.csv", corrupted="corrupted_hard")
    assert gpt2.decode(hard.corrupted[0, 1:]) == CORRUPT
    path = write_csv(tmp_path, [("x", "y", "z", "z", "50257", "a")], header)
    assert "incorrect_idx must be a token id, got 'a'" in error_of(path, gpt2)
    path = write_csv(tmp_path, [("x", "y", "z", "z", "50257", "1")], header)
    assert "token id 50257 is not in 0..50256" in error_of(path, gpt2)
    # "label" there is the start year, for which all later years are right
    path = write_csv(tmp_path, [("In 1352 to 13", "In 1301 to 13", "52")], "clean,corrupted,label")
    assert "known name for answer" in error_of(path, gpt2)
    assert gpt2.decode(pairs(gpt2, path, answer="label").answers) == "52"


def mib_ioi():
    flip = {"prompt": CORRUPT, "choices": ["Mary", "John"], "answerKey": 1}
    return {
        "prompt": CLEAN,
        "choices": ["Mary", "John"],
        "answerKey": 0,
        "metadata": {"indirect_object": "Mary", "subject": "John", "random_c": "Paul"},
        "abc_counterfactual": flip | {"prompt": OTHER},
        "s2_io_flip_counterfactual": flip,
    }


def mib_mcqa():
    text = "A box is brown. What color is a box?\n{}. red\n{}. brown\nAnswer:"
    choices = {"label": [" A", " B"], "text": ["red", "brown"]}
    other = {"label": [" C", " D"], "text": ["red", "brown"]}
    return {
        "prompt": text.format("A", "B"),
        "choices": choices,
        "answerKey": 1,
        "symbol_counterfactual": {
            "prompt": text.format("C", "D"),
            "choices": other,
            "answerKey": 1,
        },
    }


def mib_arithmetic():
    return {
        "prompt": "13+25=",
        "operator": "+",
        "label": 38,
        "random_counterfactual": {"prompt": "41+17=", "label": 58},
    }


@pytest.mark.parametrize("as_dataset", [True, False])
@pytest.mark.parametrize(
    ("row", "corrupted", "answers"),
    [
        (mib_ioi(), CORRUPT, (" Mary", " John")),
        (mib_mcqa(), mib_mcqa()["symbol_counterfactual"]["prompt"], (" B", " D")),
        (mib_arithmetic(), "41+17=", ("38", "58")),
    ],
)
def test_layouts_of_mib(gpt2, tmp_path, row, corrupted, answers, as_dataset):
    source = Dataset.from_list([row]) if as_dataset else write_jsonl(tmp_path, [row])
    task = pairs(gpt2, source)
    assert gpt2.decode(task.clean[0, 1:]) == row["prompt"]
    assert gpt2.decode(task.corrupted[0, 1:]) == corrupted
    assert (gpt2.decode(task.answers), gpt2.decode(task.wrong[0])) == answers


def test_another_counterfactual_of_mib_and_rows_that_do_not_say_their_answer(gpt2, tmp_path):
    path = write_jsonl(tmp_path, [mib_ioi()])
    task = pairs(gpt2, path, corrupted="abc_counterfactual")
    assert gpt2.decode(task.corrupted[0, 1:]) == OTHER
    bare = {key: mib_ioi()[key] for key in ("prompt", "s2_io_flip_counterfactual")}
    wrong_key = mib_mcqa() | {"answerKey": 2}
    no_list = mib_mcqa() | {"choices": {"text": ["red"]}}
    bare["s2_io_flip_counterfactual"] = {"prompt": CORRUPT}
    assert "line 1: no answer: expected metadata" in error_of(write_jsonl(tmp_path, [bare]), gpt2)
    message = error_of(write_jsonl(tmp_path, [wrong_key, no_list]), gpt2)
    assert "line 1: answerKey 2 is not an index of [' A', ' B']" in message
    assert "line 2: choices.label must be a list and answerKey an index" in message
    absent = mib_arithmetic() | {"random_counterfactual": None}
    path = write_jsonl(tmp_path, [mib_arithmetic(), absent])
    assert "line 2: random_counterfactual must be text, got None" in error_of(path, gpt2)
    assert pairs(gpt2, path, bad_rows="skip").source["left_out"]["bad_rows"] == 1


def test_a_name_of_the_hub_goes_to_datasets(gpt2, monkeypatch):
    asked = []

    def load(name, config, *, split):
        asked.append((name, config, split))
        if split == "train":
            return Dataset.from_list([mib_mcqa()])
        raise datasets.exceptions.DatasetNotFoundError(f"no\n{name}")

    monkeypatch.setattr(datasets, "load_dataset", load)
    task = pairs(gpt2, "mib-bench/copycolors_mcqa", config="4_answer_choices")
    assert task.source["file"] == "mib-bench/copycolors_mcqa"
    assert asked == [("mib-bench/copycolors_mcqa", "4_answer_choices", "train")]
    message = error_of("mib-bench/copycolors_mcqa", gpt2, split="val")
    assert "(config=None, split='val') cannot be loaded: no mib-bench/copycolors_mcqa" in message


def test_all_bad_rows_in_one_error_with_lines_and_tokens(gpt2, tmp_path):
    rows = [
        ROWS[0],
        (CLEAN, CORRUPT + " the", " Mary", " John"),
        (CLEAN, CORRUPT, " Zyzzyva", " John"),
        (CLEAN, CORRUPT, " Mary", " Mary"),
        (CLEAN + " ", CORRUPT + " ", "Mary", "John"),
        (CLEAN, "", " Mary", " John"),
        (CLEAN, CORRUPT, " Mary", "[1"),
        (CLEAN, CORRUPT, '["" Mary"", "" Tom""]', " John"),
    ]
    path = write_csv(tmp_path, rows)
    path.write_text(path.read_text("utf-8") + "one,two\n", "utf-8")
    message = error_of(path, gpt2)
    assert message.startswith("8 of 9 rows of mine.csv cannot be used. line 3: ")
    assert "line 3: clean and corrupted of different length: 12 tokens ['When', ' Mary'" in message
    assert "' to'] and 13 tokens ['When'" in message and "' to', ' the'];" in message
    assert "line 4: the answer ' Zyzzyva' is 3 tokens [' Zy', 'zzy', 'va']" in message
    assert "answer_first_token=True" in message
    assert "line 5: the answer and a wrong answer are both ' Mary'" in message
    assert "line 6: the answer 'Mary' changes how the end of the prompt is split" in message
    assert "[' book', ' to', ' '] becomes [' book', ' to', ' Mary']" in message
    assert "line 7: corrupted must be text, got ''" in message
    assert "line 8: wrong begins with '[' and is no JSON list" in message
    assert "line 9: answer must be one answer, got [' Mary', ' Tom']" in message
    assert "line 10: 2 fields where the header has 4" in message
    skipped = pairs(gpt2, path, bad_rows="skip")
    assert len(skipped) == 1 and skipped.source["left_out"]["bad_rows"] == 8
    path = write_csv(tmp_path, rows[1:2])
    assert "1 of 1 rows" in error_of(path, gpt2, bad_rows="skip")


def test_first_tokens_and_spaces_of_answers(gpt2, tmp_path):
    path = write_csv(tmp_path, [(CLEAN, CORRUPT, "Zyzzyva", "John")])
    task = pairs(gpt2, path, answer_first_token=True, answer_space=True)
    assert (gpt2.decode(task.answers), gpt2.decode(task.wrong[0])) == (" Zy", " John")
    assert pairs(gpt2, path, answer_first_token=True).answers[0] == gpt2("Zyzzyva")["input_ids"][0]
    path = write_csv(tmp_path, [(CLEAN, CORRUPT, " Mary", " John")])
    assert gpt2.decode(pairs(gpt2, path, answer_space=True).answers) == " Mary"
    path = write_csv(tmp_path, [(CLEAN, CORRUPT, " Zyzzyva", " Zyzz")])
    assert "are both ' Zy'" in error_of(path, gpt2, answer_first_token=True)


def test_the_most_common_length_is_kept_and_the_rest_counted(gpt2, tmp_path):
    longer = [("Then " + clean, "Then " + corrupt, *rest) for clean, corrupt, *rest in ROWS]
    short = ("One two", "Six two", " ten", " two")
    path = write_csv(tmp_path, [short, longer[0], ROWS[0], ROWS[1], ROWS[0]])
    task = pairs(gpt2, path)
    assert task.clean.shape == (3, 13) and gpt2.decode(task.clean[1, 1:]) == OTHER
    left = {"other_lengths": {"2": 1, "13": 1}, "bad_rows": 0, "beyond_n": 0}
    assert task.source["left_out"] == left
    few = pairs(gpt2, path, n=2)
    assert few.clean.equal(task.clean[:2]) and few.source["left_out"]["beyond_n"] == 1
    assert len(pairs(gpt2, path, n=99)) == 3
    message = error_of(path, gpt2, length="refuse")
    assert "2 tokens: line 2; 12 tokens: line 4, line 5, line 6; 13 tokens: line 3" in message
    assert pairs(gpt2, path, bos=False).clean.equal(task.clean[:, 1:])
    tie = pairs(gpt2, write_csv(tmp_path, [*longer, *ROWS]))
    assert tie.clean.shape == (2, 13) and tie.source["left_out"]["other_lengths"] == {"13": 2}


def test_answers_without_quotes_keep_their_space(gpt2, tmp_path):
    path = tmp_path / "plain.csv"
    path.write_text("clean, corrupted, answer\nOne two,Six two, ten\n", "utf-8")
    assert gpt2.decode(pairs(gpt2, path).answers) == " ten"


def test_different_numbers_of_wrong_answers(gpt2, tmp_path):
    rows = [ROWS[0], (CLEAN, CORRUPT, " Mary", '["" Bob"", "" Tom""]')]
    message = error_of(write_csv(tmp_path, rows), gpt2)
    assert "different numbers of wrong answers" in message
    assert "1 wrong: line 2; 2 wrong: line 3" in message


def test_other_bad_input(gpt2, make_toy, tmp_path):
    path = write_csv(tmp_path, ROWS)
    assert "n of at least 1, got 0" in error_of(path, gpt2, n=0)
    assert "No such file" in error_of(tmp_path / "none.csv", gpt2)
    assert "expected .csv (with the header clean,corrupted,answer)" in error_of("pairs.txt", gpt2)
    assert "got list" in error_of([{}], gpt2)
    (tmp_path / "empty.csv").write_text("clean,corrupted,answer\n", "utf-8")
    message = error_of(tmp_path / "empty.csv", gpt2)
    assert "empty.csv holds no prompts: give at least one row of clean, corrupted and answer" in (
        message
    )
    with pytest.raises(TokenizerError, match="no BOS"):
        pairs(make_toy(bos=None), path)
