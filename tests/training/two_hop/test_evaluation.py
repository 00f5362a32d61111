"""Scores of a world against a plain loop of single prompts."""

import pytest
import torch

from mechbench.training.corpora import score
from mechbench.training.loop import initial_model
from mechbench.training.two_hop.evaluation import SETS


@torch.no_grad()
def test_scores_are_those_of_single_prompts(tiny, corpus, tokenizer):
    model = initial_model(tiny, tokenizer)
    for weight in model.blocks.parameters():  # so that some answers are right by luck
        weight.mul_(30)
    model.embed.W_E[corpus.entities] *= 3
    world = corpus.world
    found = score(tiny, model, tokenizer, 10_000)

    def ask(text):
        return model(torch.tensor([tokenizer.encode(f"<|endoftext|>{text}").ids]))[0, -1].argmax()

    def name(entity):
        return tokenizer.token_to_id(f"Ġ{world.entities[entity]}")

    hits = {kind: [] for kind in SETS}
    for e in range(world.n_entities):
        for r in range(world.n_relations):
            text = f"the {world.relations[r]} {world.entities[e]}"
            hits["one_hop"].append(bool(ask(text) == name(world.facts[e, r])))
    bridge = []
    for kind in SETS[1:]:
        for e1, r1, r2 in world.chains(kind):
            e2 = world.facts[e1, r1]
            start = f"{world.relations[r2]} {world.relations[r1]} {world.entities[e1]}"
            hits[kind].append(bool(ask(f"{start} is") == name(world.facts[e2, r2])))
            if kind == "id_test":
                bridge.append(bool(ask(start) == name(e2)))
    assert found["set"] == list(SETS)
    assert found["answers"] == [len(hits[kind]) for kind in SETS]
    assert found["accuracy"] == pytest.approx([sum(hits[k]) / len(hits[k]) for k in SETS])
    assert found["bridge"][-1] == pytest.approx(sum(bridge) / len(bridge))
    assert len(found["bridge"]) == model.cfg.n_layers + 1
    assert all(0 < sum(hits[kind]) < len(hits[kind]) for kind in SETS) and sum(bridge) > 0


def test_fewer_prompts_are_a_sample_of_them(tiny, corpus, tokenizer):
    model = initial_model(tiny, tokenizer)
    found = score(tiny, model, tokenizer, 7)
    assert found["answers"] == [7] * 5 and found["n"] == 7
