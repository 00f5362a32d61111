"""Another query for each query, whose states and answer have nothing to do with it."""

from collections.abc import Sequence

from torch import Tensor, tensor

from mechbench.errors import TaskError
from mechbench.tasks.two_hop_texts import TwoHopQuery


def partners(queries: Sequence[TwoHopQuery], answers: Tensor, t1: Tensor, t2: Tensor) -> Tensor:
    """For each query the next one (cyclically) that shares no answer and no bridge with it.

    Those whose ``t1`` and ``t2`` are the same go before others, and where there is none at all, one
    that shares the bridge is taken. ``answers`` are first tokens, ``[prompt]``; two queries share
    an answer where these are equal, too.

    Raises:
        TaskError: a query for which there is none.

    Source: our choice.
    """
    first = answers.tolist()
    everyone = list(range(len(queries)))
    layouts = list(zip(t1.tolist(), t2.tolist(), strict=True))
    alike: dict[tuple[int, int], list[int]] = {}
    places = []
    for i, layout in enumerate(layouts):
        pool = alike.setdefault(layout, [])
        places.append(len(pool))
        pool.append(i)

    def answers_differ(i: int, j: int) -> bool:
        return first[i] != first[j] and queries[i].e3.name != queries[j].e3.name

    def both_differ(i: int, j: int) -> bool:
        return answers_differ(i, j) and queries[i].e2.name != queries[j].e2.name

    def chosen(i: int) -> int | None:
        anywhere = (everyone, i)
        tries = (
            (both_differ, (alike[layouts[i]], places[i])),
            (both_differ, anywhere),
            (answers_differ, anywhere),
        )
        for fits, (pool, at) in tries:
            for step in range(1, len(pool)):
                j = pool[(at + step) % len(pool)]
                if fits(i, j):
                    return j
        return None

    found = [chosen(i) for i in everyone]
    if None in found:
        i = found.index(None)
        raise TaskError(
            f"Query {i} ({queries[i].e3.name!r}) has no partner: every other of the {len(queries)} "
            "queries has the same answer. Use more queries."
        )
    return tensor(found)
