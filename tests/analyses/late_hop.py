"""A model that knows two hops and resolves the first one too late, and the task it fails at.

Four layers of a plain transformer over the tiny world's words. At an entity, block 0 copies the
relation before it, and the MLP of block 2 looks the fact up and writes the entity it leads to, for
the next token and for whoever asks. At " is", block 1 asks the position before it for that entity
and the position three before it for a relation, and its MLP looks that fact up. So the composition
finds nothing, because block 1 comes before block 2, and exactly the states behind block 2 or 3,
written at t1 behind block 0, make it right.
"""

from functools import cache

import torch

from mechbench.planted.blueprint import Blueprint, one_to_one
from mechbench.tasks.two_hop_build import two_hop_task
from mechbench.tasks.two_hop_texts import WORLD
from tests.analyses.two_hop_models import ENTITIES, RELATIONS, query, word_tokenizer

N_ENTITIES, N_RELATIONS, _LENGTH = len(ENTITIES), len(RELATIONS), 16
RESCUING = {(2, 0), (3, 0)}


def leads_to(entity: int, relation: int) -> int:
    return (entity + (1, 3, 4, 6)[relation]) % N_ENTITIES


@cache
def late_model():
    """The model, with its tokenizer."""
    tokenizer = word_tokenizer()
    vocab = len(tokenizer)
    first = tokenizer(f" {ENTITIES[0]}")["input_ids"][0]
    first_relation = tokenizer(f" {RELATIONS[0]}")["input_ids"][0]
    b = Blueprint(
        "late-hop",
        {
            "token": vocab, "position": _LENGTH, "before": N_RELATIONS, "found": N_ENTITIES,
            "asked": N_ENTITIES, "relation": N_RELATIONS, "out": vocab,
        },
        n_layers=4, n_heads=2, d_mlp=64, d_vocab=vocab, n_ctx=_LENGTH, seed=1,
    )  # fmt: skip
    b.embed(tokens="token", positions="position")
    b.unembed("out")
    relations = one_to_one(
        vocab, *((first_relation + i, i) for i in range(N_RELATIONS)), to=N_RELATIONS
    )
    entities = one_to_one(vocab, *((first + i, i) for i in range(N_ENTITIES)), to=N_ENTITIES)
    here = b.reads(position=one_to_one(_LENGTH))

    def look_back(layer, head, steps, value, output):
        """At every position, copy something from ``steps`` positions before."""
        back = [(p, max(p - steps, 0)) for p in range(_LENGTH)]
        query = b.reads(position=one_to_one(_LENGTH, *back))
        b.head(layer, head, query=query, key=here, value=value, output=output, sharpness=40.0)

    def look_up(layer, entity, relation, output):
        """A neuron for each fact, where its entity and its relation are present."""
        facts = [(e, r) for e in range(N_ENTITIES) for r in range(N_RELATIONS)]
        reads = torch.stack([entity[:, e] + relation[:, r] for e, r in facts], 1)
        writes = torch.stack([output[leads_to(e, r)] for e, r in facts])
        b.neurons(layer, reads=reads, bias=-1.5, writes=writes)

    same = one_to_one(N_RELATIONS)
    look_back(0, 0, 1, b.reads(token=relations), b.writes(before=same))
    found = b.reads(found=one_to_one(N_ENTITIES))
    look_back(1, 0, 1, found, b.writes(asked=one_to_one(N_ENTITIES)))
    look_back(1, 1, 3, b.reads(token=relations), b.writes(relation=same))
    says = 4.0 * entities.T
    look_up(1, b.reads(asked=one_to_one(N_ENTITIES)), b.reads(relation=same), b.writes(out=says))
    # twice as much as the neurons' 0.5 makes one
    keeps = 2.0 * one_to_one(N_ENTITIES)
    look_up(2, b.reads(token=entities), b.reads(before=same), b.writes(out=says, found=keeps))
    model = b.build()
    with torch.no_grad():  # what it says where it knows nothing
        model.b_U[tokenizer(" ,")["input_ids"][0]] = 0.5
    model.tokenizer = tokenizer
    return model


def late_task(n: int = 12):
    """Queries whose hops the model knows and whose shortcuts lead elsewhere."""
    found = []
    for number in torch.randperm(12 * 16, generator=torch.Generator().manual_seed(2)).tolist():
        e1, r1, r2 = number % 12, number // 12 % 4, number // 48
        e2 = leads_to(e1, r1)
        e3 = leads_to(e2, r2)
        if len({e1, e2, e3, leads_to(e1, r2)}) == 4:
            found.append(query(e1, r1, e2, r2, e3))
    return two_hop_task(word_tokenizer(), found[:n], templates=WORLD)
