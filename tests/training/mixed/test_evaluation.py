"""Scores and baselines against a slow reading of the same prompts."""

import math
from collections import Counter

import pytest
import torch

from mechbench.training.corpora import corpus_of, score
from mechbench.training.loop import initial_model
from mechbench.training.mixed.corpus import TASKS
from mechbench.training.mixed.evaluation import baselines, score_tasks


def test_scores_are_those_of_a_plain_loop(tiny_mixed, tokenizer):
    model, corpus = initial_model(tiny_mixed, tokenizer), corpus_of(tiny_mixed, tokenizer)
    # Favours what it sees, so that some answers are right by luck and some are not.
    with torch.no_grad():
        model.embed.W_E[:, :4] *= 3
    scores = score_tasks(model, corpus, n=70, seed=2)
    assert [s.task for s in scores] == list(TASKS)
    for index, found in enumerate(scores):
        prompts = corpus.prompts(found.task, 70, 2)
        hits, losses = 0, []
        for ids, labels in zip(prompts.ids.tolist(), prompts.task.tolist(), strict=True):
            logits = model(torch.tensor([ids]))[0].double()
            for position in range(1, 64):
                if labels[position] == index:
                    row = logits[position - 1].tolist()
                    hits += max(range(len(row)), key=row.__getitem__) == ids[position]
                    total = math.log(sum(math.exp(value) for value in row))
                    losses.append(total - row[ids[position]])
        assert found.answers == len(losses)
        assert found.accuracy == pytest.approx(hits / len(losses))
        assert found.loss == pytest.approx(sum(losses) / len(losses), abs=1e-5)


def test_baselines_are_those_of_counting(tiny_mixed, tokenizer):
    corpus = corpus_of(tiny_mixed, tokenizer)
    size = tokenizer.get_vocab_size()
    found = baselines(corpus, 16, 0, d_vocab=size, steps=8)
    expected_chance = [1 / 26, 1 / (size - 2), 1 / 2, 1 / 8, 1 / 3, 1 / 24]
    assert [b.chance for b in found] == pytest.approx(expected_chance)
    batches = [corpus.labelled(step) for step in range(8)]
    for index, baseline in enumerate(found):
        counts = Counter()
        for text in batches:
            counts.update(text.ids[text.task == index].tolist())
        prompts = corpus.prompts(baseline.task, 16, 0)
        answers = prompts.ids[prompts.task == index].tolist()
        most = max(range(size), key=lambda i: counts[i])
        assert baseline.unigram == pytest.approx(answers.count(most) / len(answers))
        total = sum(counts.values()) + size
        loss = sum(math.log(total / (counts[i] + 1)) for i in answers) / len(answers)
        assert baseline.unigram_loss == pytest.approx(loss)


def test_recipes_scores_are_plain_columns(tiny_mixed, tokenizer):
    scores = score(tiny_mixed, initial_model(tiny_mixed, tokenizer), tokenizer, 4)
    assert scores["task"] == list(TASKS) and scores["n"] == 4
    assert {len(scores[key]) for key in ("accuracy", "task_loss", "answers")} == {len(TASKS)}
