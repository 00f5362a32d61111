"""The docstring task with GPT-2's tokenizer."""

import ast
import re

import pytest
import torch

from mechbench.errors import TaskError, TokenizerError
from mechbench.tasks.docstring import _spans, docstring
from mechbench.tasks.docstring_texts import NAMES, WORDS


def parsed(text):
    """The head's arguments and the described ones, read by Python itself."""
    head = ast.parse(text + '"""').body[0]
    return [arg.arg for arg in head.args.args], re.findall(
        r":param (\w+):", ast.get_docstring(head)
    )


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_prompts_spans_and_corruptions(gpt2, seed):
    task = docstring(gpt2, 23, seed=seed)
    for b, ids in enumerate(task.clean.tolist()):
        text = gpt2.decode(ids[1:])
        assert gpt2(text)["input_ids"] == ids[1:]
        (own, _, _, a, bb, c, _), described = parsed(text)
        assert own == "self" and described == [a, bb] and text.endswith("    :param")
        at = {label: gpt2.decode([ids[p[b]]]) for label, p in task.spans.items()}
        assert at == {
            "A_def": f" {a}",
            "B_def": f" {bb}",
            ",_B": ",",
            "C_def": f" {c}",
            "A_doc": f" {a}",
            "B_doc": f" {bb}",
            "END": "param",
        }
        positions = [int(p[b]) for p in task.spans.values()]
        assert positions == sorted(set(positions)) and positions[-1] == len(ids) - 1
        changed = {
            "random_answer": ({"C_def"}, [a, bb]),
            "random_doc": ({"A_doc", "B_doc"}, None),
            "random_random": ({"A_def", "B_def", "C_def", "A_doc", "B_doc"}, None),
        }
        seen = {gpt2.decode([i]).strip() for i in task.arguments[b].tolist()}
        for corruption, (spans, described_now) in changed.items():
            pairs = task.pairs(corruption)
            assert gpt2.decode([pairs.answers[b, 0]]) == f" {c}"
            assert pairs.answer_positions[b].tolist() == [len(ids) - 1]
            differ = (pairs.clean[b] != pairs.corrupt[b]).nonzero()[:, 0].tolist()
            assert differ == sorted(int(task.spans[s][b]) for s in spans)
            again = gpt2.decode(pairs.corrupt[b, 1:])
            assert gpt2(again)["input_ids"] == pairs.corrupt[b, 1:].tolist()
            arguments, described_then = parsed(again)
            assert described_now in (None, described_then)
            put_in = [gpt2.decode([pairs.corrupt[b, i]]).strip() for i in differ]
            assert not set(put_in) & seen and len(set(put_in)) == len(put_in)
            seen |= set(put_in)
            assert len(set(arguments)) == len(arguments)
        assert len(seen) == 6 + 8


def test_every_own_name_is_used_with_gpt2_and_seeds_repeat(gpt2):
    task = docstring(gpt2, 6)
    assert task.source["names"] == len(NAMES) == len(set(NAMES))
    assert task.clean.equal(docstring(gpt2, 6).clean)
    assert not task.clean.equal(docstring(gpt2, 6, seed=1).clean)
    assert docstring(gpt2, 3, bos=False).clean.shape[1] == task.clean.shape[1] - 1
    labels = task.pairs().position_labels
    assert labels[int(task.spans["A_doc"][0])] == "A_doc" and labels[-1] == "END"


@pytest.mark.parametrize("against", ["max", "mean"])
@pytest.mark.parametrize("others", ["all", "prompt"])
def test_metric_is_the_plain_loop(gpt2, against, others):
    task = docstring(gpt2, 4, seed=5)
    logits = torch.randn(4, 1, len(gpt2), dtype=torch.float64)
    metric = task.metric(against, others=others)
    found = metric(logits[..., metric.vocab])
    prompts = [task.clean]
    if others == "all":
        prompts += [task.pairs(corruption).corrupt for corruption in task.corruptions]
    for b in range(4):
        names = {
            name
            for prompt in prompts
            for part in parsed(gpt2.decode(prompt[b, 1:]))
            for name in part
        }
        answer = parsed(gpt2.decode(task.clean[b, 1:]))[0][5]
        wrong = names - {"self", answer}
        assert len(wrong) == (13 if others == "all" else 5)
        values = [float(logits[b, 0, gpt2(f" {name}")["input_ids"][0]]) for name in wrong]
        reduced = max(values) if against == "max" else sum(values) / len(values)
        expected = float(logits[b, 0, gpt2(f" {answer}")["input_ids"][0]]) - reduced
        assert abs(float(found[b, 0]) - expected) < 1e-12


def test_names_are_left_out_of_the_words(gpt2):
    names = list(WORDS)[:20]
    task = docstring(gpt2, 5, names=names)
    for ids in task.clean:
        text = gpt2.decode(ids)
        head = text.index('"""')
        said = re.findall(r"\w+", re.sub(r":param( \w+:)?", "", text[head:]))
        assert len(said) == 7 and not set(said) & set(names)


def test_bad_input(gpt2, toy):
    with pytest.raises(TaskError, match="n of at least 1"):
        docstring(gpt2, 0)
    with pytest.raises(TaskError, match=r"15 names .* has 0 of 64; it splits {'cache': \[' ', 'c'"):
        docstring(toy, 2)
    with pytest.raises(TaskError, match="15 names .* has 2 of 3"):
        docstring(gpt2, 2, names=["size", "file", "zzyzxqua"])
    with pytest.raises(TaskError, match="7 words .* has 1 of 1"):
        docstring(gpt2, 2, words=["bread"])
    task = docstring(gpt2, 2)
    with pytest.raises(TaskError, match="Did you mean 'random_doc'"):
        task.pairs("randomdoc")
    with pytest.raises(TaskError, match="Did you mean 'prompt'"):
        task.metric(others="promt")
    with pytest.raises(TaskError, match="use 'max' or 'mean'"):
        task.metric("min")


def test_an_argument_that_is_not_found_as_often_as_it_must_be():
    clean = torch.tensor([[1, 2, 3, 1, 2], [1, 2, 3, 1, 4]])
    arguments = torch.tensor([[0, 0, 1, 2, 3, 0]] * 2)
    with pytest.raises(TokenizerError, match="In 'bad' the argument names"):
        _spans(clean, arguments, ["good", "bad"])
