"""The scores against a slow reading of the same model's full logits."""

import string

import pytest
import torch

from mechbench.training.evaluation import frame_prompts, score_letters
from mechbench.training.loop import initial_model


def test_scores_are_those_of_a_plain_loop(tiny_recipe):
    tokenizer = tiny_recipe.load_tokenizer()
    scaled = tiny_recipe.model_copy(update={"initial_scale": 20.0})
    model = initial_model(scaled, tokenizer)
    scores = score_letters(model, tokenizer, n=80, seed=3)
    tokens, answers = frame_prompts(tokenizer, 80, seed=3)
    capitals = [tokenizer.token_to_id(c) for c in string.ascii_uppercase]
    for letter in range(3):
        differences, hits = [], 0
        for ids, answer in zip(tokens, answers[:, letter].tolist(), strict=True):
            logits = model(ids[None])[0, 8 + letter].tolist()
            hits += max(range(len(logits)), key=logits.__getitem__) == answer
            differences.append(logits[answer] - max(logits[c] for c in capitals if c != answer))
        assert scores.accuracy[letter] == pytest.approx(hits / 80)
        assert max(differences) > 0  # or the largest of the others is never put to the test
        assert scores.logit_diff[letter] == pytest.approx(sum(differences) / 80, abs=1e-4)


def test_prompts_depend_on_the_seed_alone(tiny_recipe):
    tokenizer = tiny_recipe.load_tokenizer()
    one, same, other = (frame_prompts(tokenizer, 16, seed)[0] for seed in (0, 0, 1))
    assert torch.equal(one, same) and not torch.equal(one, other)
