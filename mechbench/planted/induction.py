"""Induction: ``... A B ... A`` -> ``B``, by a previous-token head and a head that looks for A."""

import numpy as np

from mechbench.planted.blueprint import Blueprint, one_to_one
from mechbench.planted.distractors import mixing_head, mixing_neurons, shadow_output
from mechbench.planted.planted import Planted
from mechbench.planted.task import PlantedTask, check_n, planted_task
from mechbench.tasks.seeds import seeded

NAME = "planted-induction"
_BOS, _SYMBOLS, _SHOWN = 0, 24, 10
_VOCAB, _LENGTH = 1 + _SYMBOLS, 1 + _SHOWN + 1
_SHARPNESS = 6.0  # the wanted position gets 0.96 to 0.99 of the attention
_GAIN = 8.0  # logits


def induction(n: int = 32, seed: int = 0) -> Planted:
    """The planted induction circuit: 2 layers of 4 heads, 5 true edges of 110.

    BOS, ten different symbols, then one of the first nine again. Head a0.h1 writes at each position
    which token came before; head a1.h2 looks from the last position for the one that came after the
    same symbol, and copies it. In the corrupted prompts all symbols are others.

    Source: the mechanism is that of Elhage et al. 2021 and Olsson et al. 2022; construction and
    distractors are our own.
    """
    check_n(NAME, n)
    model = _blueprint().build()
    return Planted(
        name=NAME,
        model=model,
        task=_task(n, seed),
        edges=frozenset(
            {
                "input->a0.h1<v>",
                "a0.h1->a1.h2<k>",
                "input->a1.h2<q>",
                "input->a1.h2<v>",
                "a1.h2->logits",
            }
        ),
        fixed_edges=frozenset({"input->a0.h1<q>", "input->a0.h1<k>"}),
        why=(
            "a0.h1 attends one position back and writes the token it finds there; a1.h2 asks with "
            "the last token for the position where a0.h1 wrote it, and writes the token that "
            "stands at that position to the logits. a0.h2 and a1.h1 attend as these two do, but "
            "write where nothing reads."
        ),
    )


def _blueprint() -> Blueprint:
    b = Blueprint(
        NAME,
        {"token": _VOCAB, "position": _LENGTH, "previous": _VOCAB, "out": _VOCAB},
        n_layers=2, n_heads=4, d_mlp=24, d_vocab=_VOCAB, n_ctx=_LENGTH, seed=1,
    )  # fmt: skip
    b.embed(tokens="token", positions="position")
    b.unembed("out")
    tokens = one_to_one(_VOCAB)
    back = {
        "query": b.reads(position=one_to_one(_LENGTH, *((p, p - 1) for p in range(1, _LENGTH)))),
        "key": b.reads(position=one_to_one(_LENGTH)),
        "value": b.reads(token=tokens),
        "sharpness": _SHARPNESS,
    }
    match = {
        "query": b.reads(token=tokens),
        "key": b.reads(previous=tokens),
        "value": b.reads(token=tokens),
        "sharpness": _SHARPNESS,
    }
    b.head(0, 1, **back, output=b.writes(previous=tokens))
    b.head(1, 2, **match, output=b.writes(out=_GAIN * tokens))
    away = {"bystanders": [_BOS], "loudness": 6.0}
    b.head(0, 2, **back, output=shadow_output(b, _VOCAB, **away))
    b.head(1, 1, **match, output=shadow_output(b, _VOCAB, **away))
    for layer, head in ((0, 0), (0, 3), (1, 0), (1, 3)):
        mixing_head(b, layer, head, **away)
    for layer in (0, 1):
        mixing_neurons(b, layer, 24, **away)
    return b


def _task(n: int, seed: int) -> PlantedTask:
    rng = seeded(seed, n)
    rows = np.stack([1 + rng.permutation(_SYMBOLS)[: 2 * _SHOWN] for _ in range(n)])
    asked = rng.integers(0, _SHOWN - 1, (2, n))
    prompts, answers = [], []
    for shown, at in zip((rows[:, :_SHOWN], rows[:, _SHOWN:]), asked, strict=True):
        every = np.arange(n)
        bos = np.full((n, 1), _BOS)
        prompts.append(np.concatenate([bos, shown, shown[every, at][:, None]], axis=1))
        answers.append(shown[every, at + 1][:, None])
    return planted_task(
        NAME,
        clean=prompts[0],
        corrupt=prompts[1],
        answer_positions=[_LENGTH - 1],
        answers=answers[0],
        wrong=answers[1],
        position_labels=["BOS", *(f"s{i}" for i in range(1, _SHOWN + 1)), "again"],
        answer_labels=["next"],
        seed=seed,
    )
