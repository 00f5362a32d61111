"""Letter movers: ``(K)etchup (L)ark (W)reck ( K L`` -> ``K``, ``L``, ``W``, by position."""

import numpy as np

from mechbench.planted.blueprint import Blueprint, one_to_one
from mechbench.planted.distractors import mixing_head, mixing_neurons, shadow_output
from mechbench.planted.planted import Planted
from mechbench.planted.task import PlantedTask, check_n, planted_task
from mechbench.tasks.seeds import seeded

NAME = "planted-letter-mover"
_BOS, _OPEN, _LETTERS, _TAILS, _WORDS = 0, 1, 8, 6, 3
_CAPITAL = 2  # first id of each kind
_TAIL = _CAPITAL + _LETTERS
_LETTER = _TAIL + _TAILS
_VOCAB = _LETTER + _LETTERS
_LENGTH = 1 + 2 * _WORDS + _WORDS
_FIRST_ANSWER = 2 * _WORDS + 1
_SHARPNESS = 6.0  # the wanted position gets 0.97 to 0.99 of the attention
_GAIN = 5.0  # logits, of each of the two movers


def letter_mover(n: int = 32, seed: int = 0) -> Planted:
    """The planted letter movers: 2 layers of 5 heads, 5 true edges of 151.

    BOS, three words of a capital and a tail, an opening bracket, then the first letters given so
    far; one answer at the bracket and at each given letter. Two heads look, by position, at the
    word whose turn it is: a1.h1 at its capital, a1.h3 at its tail, where a0.h2 has written the
    capital. Each adds half of the logit. In the corrupted prompts all words and letters are others.

    Source: letter movers that find the word by position are those of García-Carrasco et al. 2024;
    construction and distractors are our own.
    """
    check_n(NAME, n)
    return Planted(
        name=NAME,
        model=_blueprint().build(),
        task=_task(n, seed),
        edges=frozenset(
            {
                "input->a1.h1<v>",
                "a1.h1->logits",
                "input->a0.h2<v>",
                "a0.h2->a1.h3<v>",
                "a1.h3->logits",
            }
        ),
        fixed_edges=frozenset(
            f"input->{head}<{part}>" for head in ("a0.h2", "a1.h1", "a1.h3") for part in "qk"
        ),
        why=(
            "a1.h1 attends by position to the capital of the word whose letter is next and writes "
            "that letter's logit. a0.h2 attends one position back, so that a tail knows its "
            "capital; a1.h3 attends by position to the tail and writes the same logit. a0.h4 and "
            "a1.h0 attend as a0.h2 and a1.h1 do, but write where nothing reads."
        ),
    )


def _blueprint() -> Blueprint:
    b = Blueprint(
        NAME,
        {"token": _VOCAB, "position": _LENGTH, "capital": _LETTERS, "out": _VOCAB},
        n_layers=2, n_heads=5, d_mlp=24, d_vocab=_VOCAB, n_ctx=_LENGTH, seed=2,
    )  # fmt: skip
    b.embed(tokens="token", positions="position")
    b.unembed("out")
    position = one_to_one(_LENGTH)
    capitals = one_to_one(_VOCAB, *((_CAPITAL + i, i) for i in range(_LETTERS)), to=_LETTERS)
    letters = one_to_one(_LETTERS, *((i, _LETTER + i) for i in range(_LETTERS)), to=_VOCAB)

    def looks(*pairs: tuple[int, int]) -> dict:
        """By position: from the first of each pair to the second."""
        return {
            "query": b.reads(position=one_to_one(_LENGTH, *pairs)),
            "key": b.reads(position=position),
            "sharpness": _SHARPNESS,
        }

    answers = range(_WORDS)
    back = looks(*((p, p - 1) for p in range(1, _LENGTH)))
    to_capital = looks(*((_FIRST_ANSWER + i, 1 + 2 * i) for i in answers))
    to_tail = looks(*((_FIRST_ANSWER + i, 2 + 2 * i) for i in answers))
    of_token, of_capital = b.reads(token=capitals), b.reads(capital=one_to_one(_LETTERS))
    moved = b.writes(out=_GAIN * letters)
    away = {"bystanders": [_BOS, _OPEN, *range(_TAIL, _TAIL + _TAILS)], "loudness": 4.0}
    b.head(0, 2, **back, value=of_token, output=b.writes(capital=one_to_one(_LETTERS)))
    b.head(1, 1, **to_capital, value=of_token, output=moved)
    b.head(1, 3, **to_tail, value=of_capital, output=moved)
    b.head(0, 4, **back, value=of_token, output=shadow_output(b, _LETTERS, **away))
    b.head(1, 0, **to_capital, value=of_token, output=shadow_output(b, _LETTERS, **away))
    for layer, head in ((0, 0), (0, 1), (0, 3), (1, 2), (1, 4)):
        mixing_head(b, layer, head, **away)
    for layer in (0, 1):
        mixing_neurons(b, layer, 24, **away)
    return b


def _task(n: int, seed: int) -> PlantedTask:
    rng = seeded(seed, n)
    clean = rng.integers(0, _LETTERS, (n, _WORDS))
    corrupt = (clean + rng.integers(1, _LETTERS, (n, _WORDS))) % _LETTERS  # another at each word
    words = [f"{kind}{i}" for i in range(1, _WORDS + 1) for kind in "CT"]
    return planted_task(
        NAME,
        clean=_prompts(clean, rng.integers(0, _TAILS, (n, _WORDS))),
        corrupt=_prompts(corrupt, rng.integers(0, _TAILS, (n, _WORDS))),
        answer_positions=range(_FIRST_ANSWER, _LENGTH),
        answers=_LETTER + clean,
        wrong=_LETTER + corrupt,
        position_labels=["BOS", *words, "(", *(f"A{i}" for i in range(1, _WORDS))],
        answer_labels=[f"letter {i}" for i in range(1, _WORDS + 1)],
        seed=seed,
    )


def _prompts(letters: np.ndarray, tails: np.ndarray) -> np.ndarray:
    n = len(letters)
    words = np.stack([_CAPITAL + letters, _TAIL + tails], axis=2).reshape(n, -1)
    frame = np.full((n, 1), _BOS), words, np.full((n, 1), _OPEN), _LETTER + letters[:, :-1]
    return np.concatenate(frame, axis=1)
