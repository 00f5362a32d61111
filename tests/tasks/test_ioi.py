"""The IOI task with GPT-2's tokenizer."""

import re

import pytest
import torch

from mechbench.errors import TaskError, TokenizerError
from mechbench.tasks.ioi import ioi
from mechbench.tasks.ioi_texts import NAMES, TEMPLATES


def names_in(text):
    return [word for word in re.findall(r"[A-Z][a-z]+", text) if word in NAMES]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_names_spans_and_answers(gpt2, seed):
    task = ioi(gpt2, 41, seed=seed)
    abc, swapped = task.pairs("abc", seed=seed), task.pairs("swapped")
    orders = []
    for b, ids in enumerate(task.clean.tolist()):
        assert ids[0] == gpt2.bos_token_id
        first, second, subject = names_in(gpt2.decode(ids))
        assert first != second and subject in (first, second)
        io = second if subject == first else first
        orders.append("ABBA" if io == first else "BABA")
        assert gpt2.decode([abc.answers[b, 0]]) == f" {io}"
        token = {name: gpt2.decode([ids[p[b]]]) for name, p in task.spans.items()}
        assert token == {"IO": f" {io}", "S1": f" {subject}", "S2": f" {subject}", "END": " to"}
        assert task.spans["S1"][b] < task.spans["S2"][b]
        assert task.spans["IO"][b] < task.spans["S2"][b]
        assert abc.answer_positions[b].tolist() == [len(ids) - 1]
        others = names_in(gpt2.decode(abc.corrupt[b]))
        assert len(set(others)) == 3 and not set(others) & {first, second}
        assert names_in(gpt2.decode(swapped.corrupt[b])) == [first, second, io]
        for pairs, spans in ((abc, ("IO", "S1", "S2")), (swapped, ("S2",))):
            changed = (pairs.clean[b] != pairs.corrupt[b]).nonzero()[:, 0].tolist()
            assert changed == sorted(int(task.spans[s][b]) for s in spans)
    assert abs(orders.count("ABBA") - orders.count("BABA")) == 1
    assert task.source["orders"] == {o: orders.count(o) for o in ("ABBA", "BABA")}


def test_every_own_template_and_name_is_used_with_gpt2(gpt2):
    task = ioi(gpt2, 200)
    assert task.source["templates"] == list(TEMPLATES)
    assert task.source["names"] == len(NAMES) == len(set(NAMES))
    assert task.clean.equal(ioi(gpt2, 200).clean)
    assert not task.clean.equal(ioi(gpt2, 200, seed=1).clean)
    assert ioi(gpt2, 3, bos=False).clean.shape[1] == task.clean.shape[1] - 1


def test_metric_is_the_plain_loop(gpt2):
    task = ioi(gpt2, 6)
    length = task.clean.shape[1]
    logits = torch.randn(6, length, len(gpt2), dtype=torch.float64)
    metric = task.metric()
    found = metric(logits[:, -1:][..., metric.vocab])
    for b in range(6):
        io, subject = (int(task.clean[b, task.spans[s][b]]) for s in ("IO", "S1"))
        expected = float(logits[b, length - 1, io]) - float(logits[b, length - 1, subject])
        assert abs(float(found[b, 0]) - expected) < 1e-12


def test_own_templates(gpt2):
    five = ["Anna", "Mark", "Paul", "Lucy", "Rose"]
    text = "Now {B} and {A} eat, and {S} passes bread to"
    task = ioi(gpt2, 4, templates=[text], names=five)
    assert task.clean.shape[1] == 12
    with pytest.raises(TaskError, match="must hold"):
        ioi(gpt2, 4, templates=["Then {A} and {B} gave a {thing} to"])
    with pytest.raises(TaskError, match="must hold"):
        ioi(gpt2, 4, templates=["{A} and {B} met, and {S} gave it to"])
    with pytest.raises(TaskError, match="must hold"):
        ioi(gpt2, 4, templates=["Then {A} and {B} met, and {S} gave {gift} to"])
    with pytest.raises(TaskError, match="cannot be read"):
        ioi(gpt2, 4, templates=["Then {A and"])
    with pytest.raises(TokenizerError, match="found once and the other twice"):
        ioi(gpt2, 40, templates=[text.replace("eat", "eat with Mark")], names=five)


def test_bad_input(gpt2, toy):
    with pytest.raises(TaskError, match=r"tokenizer has 0 of 94.*'Aaron': \[' A', 'a', 'r'"):
        ioi(toy, 4)
    with pytest.raises(TaskError, match="this tokenizer has 2 of 3"):
        ioi(gpt2, 4, names=["Anna", "Mark", "Zzyzxqua"])
    with pytest.raises(TaskError, match="at least 1"):
        ioi(gpt2, 0)
    with pytest.raises(TaskError, match="Did you mean 'swapped'"):
        ioi(gpt2, 2).pairs("swap")
