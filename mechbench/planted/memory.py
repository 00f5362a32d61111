"""A fact kept in an MLP: ``... subject ... relation`` -> ``object``."""

import numpy as np
import torch
from numpy.random import Generator

from mechbench.planted.blueprint import JUNK, Blueprint, one_to_one
from mechbench.planted.distractors import mixing_head, mixing_neurons, shadow_output
from mechbench.planted.planted import Planted
from mechbench.planted.task import PlantedTask, check_n, planted_task
from mechbench.tasks.seeds import seeded

NAME = "planted-memory"
_BOS, _FILLERS, _SUBJECTS, _RELATIONS = 0, 8, 5, 3
_FACTS = _SUBJECTS * _RELATIONS  # each has an object of its own
_FILLER = 1  # first id of each kind
_SUBJECT = _FILLER + _FILLERS
_RELATION = _SUBJECT + _SUBJECTS
_OBJECT = _RELATION + _RELATIONS
_VOCAB = _OBJECT + _FACTS
_BODY = 6
_LENGTH = 1 + _BODY + 1
_SHARPNESS = 6.0  # the subject gets 0.98 of the attention
_THRESHOLD = 1.375  # subject and relation together reach 1.98, either alone at most 1
_GAIN = 14.0  # logits for each unit above the threshold


def memory(n: int = 32, seed: int = 0) -> Planted:
    """The planted fact memory: 2 layers of 4 heads, 5 true edges of 110.

    BOS, fillers with one subject among them, then a relation. Head a0.h1 finds the subject by its
    kind and writes it at the last position; one neuron of m1 for each fact fires where its subject
    and its relation (which m1 reads from the input) meet, and writes the object's logit. In the
    corrupted prompts subject, its place, relation and fillers are others.

    The neurons' threshold is what linear approximations miss: in the corrupted run the neuron of
    the clean fact is off, and its gradient is zero.

    Source: after the picture of Meng et al. 2022 and Geva et al. 2023; construction and distractors
    are our own.
    """
    check_n(NAME, n)
    return Planted(
        name=NAME,
        model=_blueprint().build(),
        task=_task(n, seed),
        edges=frozenset(
            {
                "input->a0.h1<k>",
                "input->a0.h1<v>",
                "a0.h1->m1",
                "input->m1",
                "m1->logits",
            }
        ),
        fixed_edges=frozenset(),
        why=(
            "a0.h1 looks from everywhere for a subject and writes which one it is; m1 has a neuron "
            "for each fact, which fires where that subject has arrived and the token itself is the "
            "relation. a1.h0 writes a preference for some objects to the logits, the same in every "
            "prompt; a0.h2 attends as a0.h1 does, but writes where nothing reads."
        ),
    )


def _blueprint() -> Blueprint:
    b = Blueprint(
        NAME,
        {"token": _VOCAB, "position": _LENGTH, "subject": _SUBJECTS, "out": _VOCAB},
        n_layers=2, n_heads=4, d_mlp=_FACTS + 16, d_vocab=_VOCAB, n_ctx=_LENGTH, seed=4,
    )  # fmt: skip
    b.embed(tokens="token", positions="position")
    b.unembed("out")
    subjects = [(_SUBJECT + i, i) for i in range(_SUBJECTS)]
    to_subject = {
        "query": torch.ones(1, dtype=torch.float64),
        "constant_query": True,
        "key": b.reads(token=one_to_one(_VOCAB, *((t, 0) for t, _ in subjects), to=1)),
        "value": b.reads(token=one_to_one(_VOCAB, *subjects, to=_SUBJECTS)),
        "sharpness": _SHARPNESS,
    }
    away = {"bystanders": range(_OBJECT), "loudness": 4.0}
    b.head(0, 1, **to_subject, output=b.writes(subject=one_to_one(_SUBJECTS)))
    b.head(0, 2, **to_subject, output=shadow_output(b, _SUBJECTS, **away))
    facts = [divmod(fact, _RELATIONS) for fact in range(_FACTS)]
    b.neurons(
        1,
        reads=b.reads(
            subject=one_to_one(_SUBJECTS, *((s, i) for i, (s, _) in enumerate(facts)), to=_FACTS),
            token=one_to_one(
                _VOCAB, *((_RELATION + r, i) for i, (_, r) in enumerate(facts)), to=_FACTS
            ),
        ),
        bias=-_THRESHOLD,
        writes=b.writes(
            out=_GAIN * one_to_one(_FACTS, *((i, _OBJECT + i) for i in range(_FACTS)), to=_VOCAB)
        ),
    )
    _preferring_head(b, 1, 0)
    for layer, head in ((0, 0), (0, 3), (1, 1), (1, 2), (1, 3)):
        mixing_head(b, layer, head, **away)
    mixing_neurons(b, 0, _FACTS + 16, **away)
    mixing_neurons(b, 1, 16, **away)
    return b


def _preferring_head(b: Blueprint, layer: int, head: int) -> None:
    """A head that moves the logits which the metric reads, and by the same amount in every prompt:
    what it reads of BOS goes there, what it reads of other tokens is junk."""
    preference = torch.zeros(1, _VOCAB, dtype=torch.float64)
    preference[:, _OBJECT:] = b.random(1, _FACTS, std=0.5)
    junk = b.random(_VOCAB, 8, std=2.0)
    junk[_BOS] = 0
    value = torch.cat([one_to_one(_VOCAB, (_BOS, 0), to=1), junk], dim=1)
    b.head(
        layer,
        head,
        query=torch.ones(1, dtype=torch.float64),
        constant_query=True,
        key=b.reads(position=one_to_one(_LENGTH, (0, 0), to=1)),
        value=b.reads(token=value),
        output=torch.cat([b.writes(out=preference), b.writes(**{JUNK: b.random(8, 32, std=0.25)})]),
        sharpness=1.0,
    )


def _task(n: int, seed: int) -> PlantedTask:
    rng = seeded(seed, n)
    drawn = [_prompt_pair(rng) for _ in range(n)]
    clean, corrupt, answers, wrong = (np.stack(part) for part in zip(*drawn, strict=True))
    return planted_task(
        NAME,
        clean=clean,
        corrupt=corrupt,
        answer_positions=[_LENGTH - 1],
        answers=answers[:, None],
        wrong=wrong[:, None],
        position_labels=["BOS", *(f"b{i}" for i in range(1, _BODY + 1)), "relation"],
        answer_labels=["object"],
        seed=seed,
    )


def _prompt_pair(rng: Generator) -> tuple[np.ndarray, np.ndarray, int, int]:
    """Two prompts whose subjects, relations and the subjects' places differ, and their answers."""
    subjects, relations, places = (
        rng.permutation(count)[:2] for count in (_SUBJECTS, _RELATIONS, _BODY)
    )
    prompts = []
    for subject, relation, place in zip(subjects, relations, places, strict=True):
        body = _FILLER + rng.integers(0, _FILLERS, _BODY)
        body[place] = _SUBJECT + subject
        prompts.append(np.concatenate([[_BOS], body, [_RELATION + relation]]))
    answers = _OBJECT + subjects * _RELATIONS + relations
    return prompts[0], prompts[1], answers[0], answers[1]
