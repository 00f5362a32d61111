"""A lookup in two hops: ``E M ... M V ... E`` -> ``V``, both pairs in the prompt."""

import numpy as np
from numpy.random import Generator

from mechbench.planted.blueprint import Blueprint, one_to_one
from mechbench.planted.distractors import mixing_head, mixing_neurons, shadow_output
from mechbench.planted.planted import Planted
from mechbench.planted.task import PlantedTask, check_n, planted_task
from mechbench.tasks.seeds import seeded

NAME = "planted-two-hop"
_BOS, _POOL, _SHOWN = 0, 8, 3
_ENTITY, _MIDDLE, _VALUE = 1, 1 + _POOL, 1 + 2 * _POOL  # first id of each kind
_VOCAB = 1 + 3 * _POOL
_PAIRS = 2 * _SHOWN
_LENGTH = 1 + 2 * _PAIRS + 1
_SHARPNESS = 6.0  # the wanted position gets 0.93 to 0.99 of the attention
_GAIN = 8.0  # logits


def two_hop(n: int = 32, seed: int = 0) -> Planted:
    """The planted two-hop lookup: 3 layers of 4 heads, 8 true edges of 262.

    BOS, six pairs in random order (three of an entity and its middle, three of a middle and its
    value), then one of the entities. Head a0.h3 writes at each pair's second token which the first
    one is; a1.h0 finds the middle bound to the entity, and a2.h2 the value bound to that middle. In
    the corrupted prompts all tokens are others.

    Source: our choice.
    """
    check_n(NAME, n)
    return Planted(
        name=NAME,
        model=_blueprint().build(),
        task=_task(n, seed),
        edges=frozenset(
            {
                "input->a0.h3<v>",
                "a0.h3->a1.h0<k>",
                "input->a1.h0<q>",
                "input->a1.h0<v>",
                "a1.h0->a2.h2<q>",
                "a0.h3->a2.h2<k>",
                "input->a2.h2<v>",
                "a2.h2->logits",
            }
        ),
        fixed_edges=frozenset({"input->a0.h3<q>", "input->a0.h3<k>"}),
        why=(
            "a0.h3 binds each second token to its first. a1.h0 asks with the last token, the "
            "entity, for the position bound to it and writes the middle found there; a2.h2 asks "
            "with that middle for the position bound to it and writes the value found there to the "
            "logits. a1.h2 and a2.h1 attend as these two do, but write where nothing reads."
        ),
    )


def _blueprint() -> Blueprint:
    b = Blueprint(
        NAME,
        {"token": _VOCAB, "position": _LENGTH, "bound": 2 * _POOL, "hop": _POOL, "out": _VOCAB},
        n_layers=3, n_heads=4, d_mlp=24, d_vocab=_VOCAB, n_ctx=_LENGTH, seed=3,
    )  # fmt: skip
    b.embed(tokens="token", positions="position")
    b.unembed("out")
    each = range(_POOL)
    hop = one_to_one(_POOL)

    def kind(first: int):
        return one_to_one(_VOCAB, *((first + i, i) for i in each), to=_POOL)

    def bound(first: int):
        return b.reads(bound=one_to_one(2 * _POOL, *((first + i, i) for i in each), to=_POOL))

    firsts = one_to_one(_VOCAB, *((_ENTITY + i, i) for i in range(2 * _POOL)), to=2 * _POOL)
    # A pair's second token looks at its first; every other position looks at BOS.
    back = [(p, p - 1 if p % 2 == 0 else 0) for p in range(1, _LENGTH)]
    b.head(
        0, 3,
        query=b.reads(position=one_to_one(_LENGTH, *back)),
        key=b.reads(position=one_to_one(_LENGTH)),
        value=b.reads(token=firsts),
        output=b.writes(bound=one_to_one(2 * _POOL)),
        sharpness=_SHARPNESS,
    )  # fmt: skip
    first_hop = {
        "query": b.reads(token=kind(_ENTITY)),
        "key": bound(0),
        "value": b.reads(token=kind(_MIDDLE)),
        "sharpness": _SHARPNESS,
    }
    second_hop = {
        "query": b.reads(hop=hop),
        "key": bound(_POOL),
        "value": b.reads(token=kind(_VALUE)),
        "sharpness": _SHARPNESS,
    }
    b.head(1, 0, **first_hop, output=b.writes(hop=hop))
    b.head(2, 2, **second_hop, output=b.writes(out=_GAIN * kind(_VALUE).T))
    away = {"bystanders": [_BOS, *range(_ENTITY, _VALUE)], "loudness": 4.0}
    b.head(1, 2, **first_hop, output=shadow_output(b, _POOL, **away))
    b.head(2, 1, **second_hop, output=shadow_output(b, _POOL, **away))
    for layer, head in ((0, 0), (0, 1), (0, 2), (1, 1), (1, 3), (2, 0), (2, 3)):
        mixing_head(b, layer, head, **away)
    for layer in range(3):
        mixing_neurons(b, layer, 24, **away)
    return b


def _task(n: int, seed: int) -> PlantedTask:
    rng = seeded(seed, n)
    drawn = [_prompt_pair(rng) for _ in range(n)]
    clean, corrupt, answers, wrong = (np.stack(part) for part in zip(*drawn, strict=True))
    pairs = [f"{part}{i}" for i in range(1, _PAIRS + 1) for part in "KV"]
    return planted_task(
        NAME,
        clean=clean,
        corrupt=corrupt,
        answer_positions=[_LENGTH - 1],
        answers=answers[:, None],
        wrong=wrong[:, None],
        position_labels=["BOS", *pairs, "query"],
        answer_labels=["value"],
        seed=seed,
    )


def _prompt_pair(rng: Generator) -> tuple[np.ndarray, np.ndarray, int, int]:
    """Two prompts without a token in common but BOS, and their answers."""
    pools = np.stack([first + rng.permutation(_POOL) for first in (_ENTITY, _MIDDLE, _VALUE)])
    (clean, answer), (corrupt, wrong) = (
        _prompt(rng, *pools[:, i * _SHOWN : (i + 1) * _SHOWN]) for i in range(2)
    )
    return clean, corrupt, answer, wrong


def _prompt(
    rng: Generator, entities: np.ndarray, middles: np.ndarray, values: np.ndarray
) -> tuple[np.ndarray, int]:
    facts = np.concatenate([np.stack([entities, middles], 1), np.stack([middles, values], 1)])
    asked = rng.integers(_SHOWN)
    shuffled = facts[rng.permutation(_PAIRS)].reshape(-1)
    return np.concatenate([[_BOS], shuffled, entities[asked : asked + 1]]), values[asked]
