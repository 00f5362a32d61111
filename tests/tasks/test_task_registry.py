"""Tasks by name."""

import pytest

from mechbench.errors import TaskError
from mechbench.resources import PLANTED
from mechbench.tasks.registry import TASKS, build_task, check_params, task_params


def test_every_task_builds_and_keeps_the_contract(gpt2, english, tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("prompt,acronym\nThe Ketchup Lark Wreck (,KLW\n", "utf-8")
    own = tmp_path / "own.csv"
    own.write_text("clean,corrupted,answer\nOne two,Six two, ten\n", "utf-8")
    questions = tmp_path / "questions.jsonl"
    questions.write_text(
        '{"question": "Which", "options": ["red", "six"], "answer": "A"}\n', "utf-8"
    )
    hops = tmp_path / "hops.csv"
    hops.write_text(
        "e1_label,e2_label,e3_label,r1_label,r2_label\n"
        "Imagine,John Lennon,Yoko Ono,performer,spouse\nEmma,Jane Austen,George,author,father\n",
        "utf-8",
    )
    params = {
        "acronyms": {"n": 4, "words": english},
        "prompts": {"path": path, "words": english},
        "induction": {"n": 4},
        "ioi": {"n": 4},
        "greater_than": {"n": 4},
        "docstring": {"n": 4},
        "multiple_choice": {"n": 4},
        "choices_file": {"path": questions},
        "pairs": {"path": own},
        "two_hop": {"n": 4},
        "two_hop_file": {"path": hops},
        **{name: {"n": 4} for name in PLANTED},
    }
    assert set(params) == set(TASKS)
    sizes = {"prompts": 1, "choices_file": 1, "pairs": 1, "two_hop_file": 2}
    for name, given in params.items():
        task = build_task(name, gpt2, **given)
        assert task.name == name
        assert len(task) == len(task.clean) == sizes.get(name, 4)
        for corruption in task.corruptions:
            letter = [3] if name in ("acronyms", "prompts") and corruption != "all" else []
            pairs = task.pairs(corruption, *letter)
            assert pairs.name == name and pairs.source["corruption"] == corruption
            assert pairs.clean.equal(task.clean)
            assert task.metric().positions.equal(pairs.answer_positions)


def test_parameters_are_those_of_the_functions():
    assert list(task_params("ioi")) == ["n", "seed", "names", "templates", "bos"]
    assert "path" in task_params("prompts") and "tokenizer" not in task_params("prompts")


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        ("acronym", {}, "no task 'acronym'. Did you mean 'acronyms'"),
        ("acronyms", {"sed": 1}, "no parameter 'sed'. Did you mean 'seed'"),
        ("ioi", {"tokenizer": 1}, "no parameter 'tokenizer'"),
        ("prompts", {}, "needs the parameter 'path'"),
    ],
)
def test_bad_names(name, params, message):
    with pytest.raises(TaskError, match=message):
        check_params(name, list(params))
    if "tokenizer" not in params:
        with pytest.raises(TaskError, match=message):
            build_task(name, None, **params)


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        ("acronyms", {"n": "many"}, "n='many': Input should be a valid integer"),
        ("acronyms", {"words": "Ketchup"}, "words='Ketchup'"),
        ("induction", {"n": 2.5}, "n=2.5"),
        ("acronyms", {"n": 2, "seed": -1, "words": ["Ketchup", "Lark"]}, "from 0, got -1"),
    ],
)
def test_bad_values(gpt2, name, params, message):
    with pytest.raises(TaskError, match=message):
        build_task(name, gpt2, **params)
