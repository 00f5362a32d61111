"""The planted two-hop lookup as two-hop queries: the bridge and its place are known."""

import torch

from mechbench.planted.planted import Planted
from mechbench.tasks.two_hop import TwoHopTask
from mechbench.tasks.two_hop_texts import LABELS, WORLD, Entity, TwoHopQuery


def planted_task(planted: Planted) -> tuple[TwoHopTask, torch.Tensor, torch.Tensor]:
    """The task, and where each prompt's middle and value stand, ``[prompt]``."""
    clean = planted.task.clean
    last = clean.shape[1] - 1
    queries, bridges, middles, values = [], [], [], []
    for ids in clean.tolist():
        facts = {
            key: (value, 2 * i + 2)
            for i, (key, value) in enumerate(zip(ids[1:-1:2], ids[2::2], strict=False))
        }
        middle, at_middle = facts[ids[-1]]
        value, at_value = facts[middle]
        queries.append(TwoHopQuery(*(Entity(f"#{i}") for i in (ids[-1], middle, value)), "r", "r"))
        bridges.append((middle,))
        middles.append(at_middle)
        values.append(at_value)
    end = torch.full((len(clean),), last)
    answers = planted.task.answers
    task = TwoHopTask(
        queries=tuple(queries),
        templates=WORLD,
        clean=clean,
        spans={"t1": end, "t2": end, "e1": end, "r1": end - 1, "r2": end - 2},
        answers=answers,
        answer_ids=tuple((i,) for i in answers[:, 0].tolist()),
        bridge_ids=tuple(bridges),
        label_tokens={label: tuple(clean) for label in LABELS},
        source={},
    )
    return task, torch.tensor(middles), torch.tensor(values)
