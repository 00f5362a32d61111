"""Finding neurons and edits that favour a label, from answers alone.

Suffixes: B prompt, M d_mlp, O option.
"""

from dataclasses import replace

import torch
from torch import Tensor

from mechbench.analyses.common.choices import OTHER, Answers
from mechbench.analyses.common.gaps import direct_directions, final_stream, last_activations
from mechbench.analyses.common.label_edits import label_directions, targets
from mechbench.analyses.common.mlp_values import Neuron, post_name
from mechbench.interventions.weight_edits import output_weight
from mechbench.results.choices import OTHERS_MEAN
from mechbench.tasks.choice_task import ChoiceTask


@torch.inference_mode()
def strongest_pulls(model, task: ChoiceTask, n: int) -> list[tuple[Neuron, float]]:
    """The neurons with the largest mean direct part of logit(first label) - mean(later labels).

    In logits, only positive ones. No right label is used.
    """
    layers = range(model.cfg.n_layers)
    seen = last_activations(model, task, [*map(post_name, layers), final_stream(model)])
    first = label_directions(task, model.W_U)[task.anchor]
    onto = first - targets(task, model.W_U)[OTHERS_MEAN]
    directions = direct_directions(model, seen[final_stream(model)], onto)
    found: list[tuple[Neuron, float]] = []
    for layer in layers:
        along = directions @ output_weight(model, layer).T  # [B M]
        pull = (seen[post_name(layer)] * along).mean(0)
        best = pull.topk(min(n, len(pull)))
        found += [
            ((layer, int(i)), float(p)) for p, i in zip(best.values, best.indices, strict=True)
        ]
    return sorted((f for f in found if f[1] > 0), key=lambda f: -f[1])[:n]


def unevenness(answers: Answers, task: ChoiceTask) -> float:
    """Total variation distance of the mean probabilities from those of an even choice of labels.

    Over the labels and "any other token", whose probability should be 0: an edit that makes the
    model say something else altogether is not even. Source: our choice.
    """
    labels = answers.log_probs.exp()
    offered = (torch.arange(len(task.labels)) < task.n_options[:, None]).double()
    even = (offered / task.n_options[:, None]).mean(0)
    mean = labels.mean(0)
    return float(((mean - even).abs().sum() + 1 - mean.sum()) / 2)


def label_offsets(answers: Answers) -> Tensor:
    """Mean log-probability of each label over the prompts that offer it, less their mean."""
    offered = answers.log_probs.isfinite()
    total = answers.log_probs.masked_fill(~offered, 0.0).sum(0)
    means = total / offered.sum(0).clamp(min=1)
    return means - means.mean()


def calibrated(answers: Answers, task: ChoiceTask, offsets: Tensor) -> Answers:
    """The answers with each label's log-probability lowered by its offset.

    Source: the idea of Zhao et al. 2021 (contextual calibration), with the mean over prompts in
    the place of a prompt without content.
    """
    log_probs = answers.log_probs - offsets
    best, option = log_probs.max(-1)
    top = torch.where(best > answers.other, task.label_ids[option], OTHER)
    return replace(answers, top=top, log_probs=log_probs)
