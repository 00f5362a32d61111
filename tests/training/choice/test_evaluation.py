"""Scores of models whose answers are known."""

import re

import pytest
import torch

from mechbench.tasks.choice_families import FAMILIES
from mechbench.training.choice.evaluation import SENTENCES, score_choices
from mechbench.training.choice.rows import is_held_out
from mechbench.training.corpora import corpus_of
from tests.tasks.test_multiple_choice import SOLVERS
from tests.training.choice.test_rows import family_of, parsed

N = 16


class Scripted:
    """Says what ``said`` makes of the prompt's text, by ``answer_logits``; keeps the prompts."""

    def __init__(self, tokenizer, said):
        self.tokenizer, self.said, self.seen = tokenizer, said, []

    def answer_logits(self, tokens, positions):
        logits = torch.zeros(len(tokens), 1, self.tokenizer.get_vocab_size())
        for row, (ids, last) in enumerate(
            zip(tokens.tolist(), positions[:, 0].tolist(), strict=True)
        ):
            text = self.tokenizer.decode(ids[: last + 1])
            self.seen.append(text)
            for rank, word in enumerate(self.said(text)):
                logits[row, 0, self.tokenizer.encode(f" {word}").ids[0]] = 10.0 - rank
        return logits


def right(text):
    asked = parsed(text)
    if asked:
        question, labels, options = asked
        return [labels[options.index(SOLVERS[family_of(question)](question))]]
    question = re.match(r"Question: (.*)\? Answer:", text)
    return [SOLVERS[family_of(question.group(1))](question.group(1))] if question else ["Mary"]


@pytest.fixture
def scores(tiny, tokenizer):
    def of(said):
        model = Scripted(tokenizer, said)
        found = score_choices(model, corpus_of(tiny, tokenizer), N)
        assert [s.family for s in found] == [*FAMILIES, SENTENCES]
        return found[: len(FAMILIES)], model

    return of


def test_a_model_that_is_right(scores):
    found, model = scores(right)
    for s in found:
        assert (s.accuracy, s.accuracy_first, s.anchored, s.among_labels) == (1, 1, 0, 1)
        assert s.text_accuracy == 1 and s.text_loss < 0.1
    questions = [re.match(r"Question: (.*)\? Answer", t) for t in model.seen]
    assert all(is_held_out(q.group(1)) for q in questions if q)
    asked = [found for found in map(parsed, model.seen) if found]
    assert sorted(len(o) for *_, o in asked) == sorted([2, 3, 4, 5] * (N // 4) * 2 * len(FAMILIES))


def test_a_model_that_always_says_the_first_label(scores):
    for s in scores(lambda text: ["A"])[0]:
        assert (s.accuracy, s.accuracy_first, s.anchored, s.among_labels) == (0, 1, 1, 0)
        assert s.text_accuracy == 0


def test_labels_count_alone_where_another_word_is_likelier(scores):
    for s in scores(lambda text: ["green", *right(text), "A"])[0]:
        assert (s.accuracy, s.accuracy_first, s.anchored, s.among_labels) == (0, 0, 0, 1)


def test_labels_that_are_not_offered_do_not_count(scores):
    for s in scores(lambda text: ["green", "F", "E", *right(text)])[0]:
        assert s.among_labels == pytest.approx(3 / 4 + 1 / 4 / 4, abs=0.25 / 4 + 0.15)


def test_families_without_weight_are_not_scored(tiny, tokenizer):
    corpus = tiny.corpus.model_copy(update={"families": {"ioi": 1.0, "deduction": 0.0}})
    corpus = corpus_of(tiny.model_copy(update={"corpus": corpus}), tokenizer)
    found = score_choices(Scripted(tokenizer, right), corpus, 4)
    assert [s.family for s in found] == ["ioi", SENTENCES]
