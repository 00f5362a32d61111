"""Batched edits checked against edits that are written into the weights, prompt by prompt."""

from collections.abc import Sequence

import torch
from torch import Tensor

from mechbench.analyses.common.choices import answers_of
from mechbench.analyses.common.edited_answers import EditedAnswers, PromptEdits
from mechbench.interventions.weight_edits import ValueVectorEdit, edited, output_weight


def check_written(
    runs: EditedAnswers, edits: Sequence[PromptEdits], prompts: Tensor
) -> tuple[float, bool]:
    """How far both ways differ, and whether every weight is as before.

    Args:
        prompts: indices of the prompts that are checked.

    Returns:
        The largest difference of the labels' log-probabilities in nats, and whether the edited
        layers' weights were restored bit for bit.
    """
    model, batched = runs.model, runs.under(edits)
    layers = sorted({edit.neuron[0] for edit in edits})
    before = {layer: output_weight(model, layer).clone() for layer in layers}
    largest = 0.0
    for i in prompts.tolist():
        rows = [edit.add[0] if len(edit.add) == 1 else edit.add[i] for edit in edits]
        written = [ValueVectorEdit(*e.neuron, row) for e, row in zip(edits, rows, strict=True)]
        task = runs.task.select([i])
        with edited(model, written):
            alone = answers_of(model, task)
        offered = alone.log_probs.isfinite()
        change = (alone.log_probs - batched.log_probs[i : i + 1])[offered].abs().max()
        largest = max(largest, float(change))
    restored = all(torch.equal(before[layer], output_weight(model, layer)) for layer in layers)
    return largest, restored
