"""How well a model knows a world: facts, chains of each kind, and where the bridge is readable."""

from typing import Any

import numpy as np
import torch

from mechbench.models.base import HookedModel
from mechbench.training.two_hop.corpus import T1, TwoHopCorpus

SETS = ("one_hop", "train", "id_test", "id_ood", "ood_id")
_BRIDGE_SET = "id_test"


@torch.no_grad()
def score_world(
    model: HookedModel, corpus: TwoHopCorpus, n: int = 512, seed: int = 0
) -> dict[str, Any]:
    """Scores of each of ``SETS``, on ``n`` of its facts or chains or on all where there are fewer.

    ``accuracy`` is the share whose most likely next token, of the whole vocabulary, is the answer,
    ``answers`` how many there are. ``bridge`` is the share of ``id_test`` chains whose bridge is
    the most likely token by the logit lens at the entity: before the first layer and after each.

    Raises:
        NumericsError: for NaN or infinite logits.
    """
    accuracy, answers = [], []
    for index, name in enumerate(SETS):
        batch = _rows(corpus, name, n, seed, index)
        ids = torch.from_numpy(batch)
        last = torch.full((len(ids), 1), ids.shape[1] - 2)
        found = model.answer_logits(ids[:, :-1], last)[:, 0].argmax(-1)
        accuracy.append((found == ids[:, -1]).double().mean().item())
        answers.append(len(ids))
    return {
        "set": list(SETS),
        "accuracy": accuracy,
        "answers": answers,
        "bridge": _bridge(model, corpus, n, seed),
        "n": n,
    }


def drawn_chains(corpus: TwoHopCorpus, kind: str, n: int, seed: int, index: int) -> np.ndarray:
    """``n`` chains of a kind, or all of them where there are fewer."""
    chains = corpus.world.chains(kind)
    return chains[np.random.default_rng([seed, index]).permutation(len(chains))[:n]]


def _rows(corpus: TwoHopCorpus, name: str, n: int, seed: int, index: int) -> np.ndarray:
    if name != "one_hop":
        return corpus.two_hops(drawn_chains(corpus, name, n, seed, index)).ids
    shape = corpus.world.facts.shape
    facts = np.stack(np.unravel_index(np.arange(np.prod(shape)), shape), axis=1)
    return corpus.one_hops(
        facts[np.random.default_rng([seed, index]).permutation(len(facts))[:n]]
    ).ids


def _bridge(model: HookedModel, corpus: TwoHopCorpus, n: int, seed: int) -> list[float]:
    chains = drawn_chains(corpus, _BRIDGE_SET, n, seed, SETS.index(_BRIDGE_SET))
    bridge = torch.from_numpy(corpus.entities[corpus.world.ends(chains)[:, 1]])
    ids = torch.from_numpy(corpus.two_hops(chains).ids)[:, : T1 + 1]
    shares = []
    for layer in range(model.cfg.n_layers + 1):
        resid = model(ids, stop_at_layer=layer)[:, T1:]
        found = model.read_answers(resid)[:, 0].argmax(-1)
        shares.append((found == bridge).double().mean().item())
    return shares
