"""A tiny world of words for tests of two-hop analyses, and models that read it."""

from dataclasses import replace

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from mechbench.models.variants.gpt2 import SPEC
from mechbench.tasks.two_hop_build import two_hop_task
from mechbench.tasks.two_hop_texts import WORLD, Entity, Templates, TwoHopQuery

ENTITIES = tuple(f"e{i}" for i in range(12))
RELATIONS = tuple(f"r{i}" for i in range(4))
_WORDS = ("<bos>", "<unk>", "the", "of", "is", ":", ",", "x", *ENTITIES, *RELATIONS)


def word_tokenizer() -> PreTrainedTokenizerFast:
    """One token a word, and a space between words when they are decoded."""
    vocab = {(word if i < 2 else "Ġ" + word): i for i, word in enumerate(_WORDS)}
    tokenizer = Tokenizer(models.WordLevel(vocab=vocab, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(" ", "merged_with_next"),
            pre_tokenizers.ByteLevel(add_prefix_space=True, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<bos>", unk_token="<unk>")


def tiny_gpt2(scale: float = 0.3, **changes):
    """A GPT-2 of the tiny world with large random weights that likes to name entities."""
    torch.manual_seed(1)
    model = SPEC.build(replace(SPEC.presets["tiny"], d_vocab=len(_WORDS), tied=False, **changes))
    with torch.no_grad():
        for name, weight in model.named_parameters():
            leaf = name.rsplit(".", 1)[-1]
            weight.add_(torch.randn_like(weight) * (scale if leaf.startswith("W_") else 0.1))
        model.W_E.mul_(3.0)
        model.W_U[:, : len(_WORDS) - len(ENTITIES) - len(RELATIONS)] = 0.0
        model.W_U[:, -len(RELATIONS) :] = 0.0
    model.tokenizer = word_tokenizer()
    return model


def query(e1: int, r1: int, e2: int, r2: int, e3: int, kind: str = "") -> TwoHopQuery:
    names = (Entity(ENTITIES[i]) for i in (e1, e2, e3))
    return TwoHopQuery(*names, RELATIONS[r1], RELATIONS[r2], kind)


@torch.no_grad()
def answerable(model, n: int = 12, templates: Templates = WORLD):
    """Queries whose bridge and answer are what the model says to both hops, as a task.

    Of what it says the likeliest entity counts, so that some answers are right and some are not.
    """
    tokenizer = model.tokenizer
    ids = torch.tensor([tokenizer(f" {e}")["input_ids"][0] for e in ENTITIES])
    texts = [f"the {r} {e}" for e in ENTITIES for r in RELATIONS]
    rows = torch.tensor([[tokenizer.bos_token_id, *tokenizer(t)["input_ids"]] for t in texts])
    facts = model(rows)[:, -1, ids].argmax(-1).unflatten(0, (len(ENTITIES), -1)).tolist()
    found = []
    order = torch.randperm(len(ENTITIES) * len(RELATIONS) ** 2).tolist()
    for number in order:
        e1, r1, r2 = number % 12, number // 12 % 4, number // 48
        e2 = facts[e1][r1]
        e3 = facts[e2][r2]
        if len({e1, e2, e3}) == 3:
            found.append(query(e1, r1, e2, r2, e3, ("a", "b")[number % 2]))
    assert len(found) >= n
    return two_hop_task(tokenizer, found[:n], templates=templates)
