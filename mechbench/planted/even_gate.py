"""Copying through a gate that opens for + and for - alike: gradients believe that the sign matters.

A linear approximation sees the slope of the gate at the clean sign and multiplies it by the change
of sign; but the gate is even, so that nothing changes. Exact patching shows that.
"""

import numpy as np

from mechbench.planted.blueprint import Blueprint, one_to_one
from mechbench.planted.distractors import mixing_head, mixing_neurons, shadow_output
from mechbench.planted.planted import Planted
from mechbench.planted.task import PlantedTask, check_n, planted_task
from mechbench.tasks.seeds import seeded

NAME = "planted-even-gate"
_BOS, _PLUS, _MINUS, _SYMBOL, _SYMBOLS, _SHOWN = 0, 1, 2, 3, 12, 5
_VOCAB = _SYMBOL + _SYMBOLS
_LENGTH = 2 + _SHOWN
_MARK, _COPIED, _LAST = 1, 3, _LENGTH - 1  # positions
_SHARPNESS = 6.0  # the wanted position gets 0.98 of the attention
_THRESHOLD = 1.375  # symbol and open gate together reach 1.96
_GAIN = 14.0  # logits for each unit above the threshold


def even_gate(n: int = 32, seed: int = 0) -> Planted:
    """The planted even gate: 2 layers of 4 heads, 3 true edges of 110, 2 that only seem to matter.

    BOS, a sign, five symbols; the answer is the second symbol. Head a1.h2 moves it to the last
    position, where a neuron of m1 passes it on if the gate is open. Head a0.h1 moves the sign to
    the last position, and m0 opens the gate by the sign's absolute value. In the corrupted prompts
    the symbols are others and the sign is the opposite one, so ``input->a0.h1<v>`` and
    ``a0.h1->m0`` have a large gradient and a large difference, and no effect.

    Source: our choice.
    """
    check_n(NAME, n)
    return Planted(
        name=NAME,
        model=_blueprint().build(),
        task=_task(n, seed),
        edges=frozenset({"input->a1.h2<v>", "a1.h2->m1", "m1->logits"}),
        fixed_edges=frozenset(
            {
                "input->a1.h2<q>",
                "input->a1.h2<k>",
                "input->a0.h1<q>",
                "input->a0.h1<k>",
                "input->a0.h1<v>",
                "a0.h1->m0",
                "m0->m1",
            }
        ),
        why=(
            "a1.h2 attends by position to the second symbol and writes it at the last position; m1 "
            "has a neuron for each symbol, which writes that symbol's logit where the symbol has "
            "arrived and the gate is open. m0 opens the gate whichever sign a0.h1 has found. a0.h2 "
            "and a1.h0 attend as the two heads do, but write where nothing reads."
        ),
    )


def _blueprint() -> Blueprint:
    spaces = {"token": _VOCAB, "position": _LENGTH, "sign": 1, "gate": 1, "moved": _SYMBOLS}
    b = Blueprint(
        NAME, {**spaces, "out": _VOCAB},
        n_layers=2, n_heads=4, d_mlp=24, d_vocab=_VOCAB, n_ctx=_LENGTH, seed=5,
    )  # fmt: skip
    b.embed(tokens="token", positions="position")
    b.unembed("out")
    symbols = one_to_one(_VOCAB, *((_SYMBOL + i, i) for i in range(_SYMBOLS)), to=_SYMBOLS)
    sign = one_to_one(_VOCAB, (_PLUS, 0), to=1) - one_to_one(_VOCAB, (_MINUS, 0), to=1)
    one, position = one_to_one(1), b.reads(position=one_to_one(_LENGTH))

    def from_last_to(there: int) -> dict:
        query = b.reads(position=one_to_one(_LENGTH, (_LAST, there)))
        return {"query": query, "key": position, "sharpness": _SHARPNESS}

    of_sign, of_symbol = b.reads(token=sign), b.reads(token=symbols)
    b.head(0, 1, **from_last_to(_MARK), value=of_sign, output=b.writes(sign=one))
    b.head(
        1, 2,
        **from_last_to(_COPIED),
        value=of_symbol,
        output=b.writes(moved=one_to_one(_SYMBOLS)),
    )  # fmt: skip
    for slope in (1, -1):
        b.neurons(0, reads=b.reads(sign=slope * one), bias=0.0, writes=b.writes(gate=one))
    b.neurons(
        1,
        reads=b.reads(
            moved=one_to_one(_SYMBOLS),
            gate=one_to_one(1, *((0, i) for i in range(_SYMBOLS)), to=_SYMBOLS),
        ),
        bias=-_THRESHOLD,
        writes=b.writes(out=_GAIN * symbols.T),
    )
    away = {"bystanders": [_BOS, _PLUS, _MINUS], "loudness": 4.0}
    b.head(
        0, 2, **from_last_to(_MARK), value=of_sign, output=shadow_output(b, 1, **away)
    )  # fmt: skip
    b.head(
        1, 0, **from_last_to(_COPIED), value=of_symbol, output=shadow_output(b, _SYMBOLS, **away)
    )  # fmt: skip
    for layer, head in ((0, 0), (0, 3), (1, 1), (1, 3)):
        mixing_head(b, layer, head, **away)
    mixing_neurons(b, 0, 22, **away)
    mixing_neurons(b, 1, 12, **away)
    return b


def _task(n: int, seed: int) -> PlantedTask:
    rng = seeded(seed, n)
    rows = np.stack([_SYMBOL + rng.permutation(_SYMBOLS)[: 2 * _SHOWN] for _ in range(n)])
    marks = rng.integers(_PLUS, _MINUS + 1, (n, 1))
    bos = np.full((n, 1), _BOS)
    clean, corrupt = (
        np.concatenate([bos, mark, shown], axis=1)
        for mark, shown in ((marks, rows[:, :_SHOWN]), (_PLUS + _MINUS - marks, rows[:, _SHOWN:]))
    )
    return planted_task(
        NAME,
        clean=clean,
        corrupt=corrupt,
        answer_positions=[_LAST],
        answers=clean[:, [_COPIED]],
        wrong=corrupt[:, [_COPIED]],
        position_labels=["BOS", "sign", *(f"s{i}" for i in range(1, _SHOWN + 1))],
        answer_labels=["second"],
        seed=seed,
    )
