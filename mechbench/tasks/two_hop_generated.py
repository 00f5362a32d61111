"""Two-hop queries of a generated world."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any, Literal

from mechbench.errors import TaskError
from mechbench.tasks.seeds import seeded
from mechbench.tasks.two_hop import TwoHopTask
from mechbench.tasks.two_hop_build import two_hop_task
from mechbench.tasks.two_hop_texts import ENGLISH, WORLD, Entity, Templates, TwoHopQuery
from mechbench.tasks.two_hop_world import CHAIN_KINDS, World

_TEMPLATES: dict[str, Templates] = {
    "entity": WORLD,
    "is": replace(WORLD, one_hop="the {phrase} is"),
    "english": ENGLISH,
}


def two_hop(
    tokenizer: Any,
    n: int = 64,
    *,
    world: World | None = None,
    kinds: Sequence[str] = ("id_test",),
    one_hop: Literal["entity", "is", "english"] = "entity",
    seed: int = 0,
) -> TwoHopTask:
    """The task on chains of a generated world, as the bundled two-hop models are trained on it.

    Args:
        tokenizer: a fast one of Hugging Face's interface, e.g. ``model.tokenizer``.
        n: how many queries of each kind, all different.
        world: the facts; by default those of the bundled models.
        kinds: of chains, some of ``mechbench.tasks.two_hop_world.CHAIN_KINDS``.
        one_hop: where one hop's answer is read: at the "entity" itself (``the r e``), or at an "is"
            behind it, as the model was trained; "english" makes whole phrases (``the r2 of the r1
            of e1 is``), which no bundled model knows.
        seed: which chains are drawn; the same seed draws the same ones.

    Raises:
        TaskError: ``n`` below 1 or above the number of chains of a kind, no kind or an unknown one,
            or names that are not whole tokens.
        TokenizerError: no BOS token, or a tokenizer that tells no offsets.
    """
    world = World() if world is None else world
    if not kinds or len(set(kinds)) < len(kinds):
        raise TaskError(f"kinds={list(kinds)} must name kinds of chains, each once: {CHAIN_KINDS}.")
    queries = [query for kind in kinds for query in _drawn(world, kind, n, seed)]
    source = {
        "generator": "two_hop",
        "world": asdict(world),
        "n_of_each_kind": n,
        "kinds": list(kinds),
        "one_hop": one_hop,
        "seed": seed,
    }
    return two_hop_task(tokenizer, queries, templates=_TEMPLATES[one_hop], source=source)


def _drawn(world: World, kind: str, n: int, seed: int) -> list[TwoHopQuery]:
    chains = world.chains(kind)
    if not 1 <= n <= len(chains):
        raise TaskError(
            f"n={n} queries of the kind {kind!r} cannot be drawn: this world has {len(chains)}, so "
            f"give 1 to {len(chains)}."
        )
    rng = seeded(seed, world.seed, CHAIN_KINDS.index(kind))
    chosen = chains[rng.permutation(len(chains))[:n]]
    names, relations = world.entities, world.relations
    queries = []
    for (_, r1, r2), ends in zip(chosen.tolist(), world.ends(chosen).tolist(), strict=True):
        e1, e2, e3 = (Entity(names[i]) for i in ends)
        queries.append(TwoHopQuery(e1, e2, e3, relations[r1], relations[r2], kind))
    return queries
