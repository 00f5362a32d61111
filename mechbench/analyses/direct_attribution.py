"""Which components write the answer straight into the logits."""

from pathlib import Path

import torch

from mechbench.analyses.common.answer_reading import answer_reading
from mechbench.analyses.common.components import components
from mechbench.analyses.common.estimates import estimate, labelled
from mechbench.analyses.common.heads import all_heads, head_label
from mechbench.analyses.common.provenance import Clock
from mechbench.analyses.common.steps import Progress, Steps
from mechbench.results.direct_attribution import COMPONENT, DirectAttribution
from mechbench.shapes import ANSWER, HEAD, LAYER, PROMPT
from mechbench.tasks.base import Task


@torch.inference_mode()
def direct_attribution(
    model,
    task: Task,
    *,
    against: str = "mean",
    heads: bool = True,
    seed: int = 0,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
) -> DirectAttribution:
    """Every component's direct part of the answers' logits, on the clean prompts.

    The final norm's divisor is that of the run; its centring, scale and bias are exact, so the
    parts add up to the reading of the model's own logits.

    Args:
        against: of a logit difference, against the "mean" of the wrong answers, or the one that is
            the strongest in the run ("max"). Of a log-probability the answer's logit is read.
        heads: each head by itself; else whole attention layers.

    Raises:
        TaskError: a metric that is neither, or an unknown ``against``.
        UnsupportedHookError: a model whose components do not add up to its logits.

    Source: Elhage et al. 2021 (direct paths); exact norms and the control are our choice.
    """
    clock = Clock()
    steps = Steps(1, progress, checkpoint)
    tokens = task.clean.to(model.cfg.device)
    reading = answer_reading(model, task.metric(), tokens, against=against)
    found = components(model, tokens, reading, heads=heads)
    answers = list(task.pairs().answer_labels)
    axes = {PROMPT: range(len(tokens)), ANSWER: answers}
    about = {"units": "logits", "meaning": "direct part of the reading"}
    parts = labelled(found.parts, {COMPONENT: found.labels, **axes}, **about)
    shuffled = labelled(found.shuffled, {COMPONENT: found.labels, **axes}, **about)
    value = labelled(found.value, axes, units="logits", meaning=reading.name)
    summary = estimate(parts.mean(ANSWER, keep_attrs=True), seed=seed)
    by_head = None
    if heads:
        grid = {LAYER: range(model.cfg.n_layers), HEAD: range(model.cfg.n_heads)}
        names = [head_label(head) for head in all_heads(model)]
        flat = summary.sel({COMPONENT: names}).values
        by_head = labelled(
            flat.reshape(3, model.cfg.n_layers, model.cfg.n_heads),
            {"estimate": list(summary["estimate"].values), **grid},
            **about,
        )
    steps.finish()
    return DirectAttribution(
        reading=reading.name,
        parts=parts,
        summary=summary,
        heads=by_head,
        control=estimate(shuffled.mean(ANSWER, keep_attrs=True), seed=seed),
        value=value,
        value_summary=estimate(value.mean(ANSWER, keep_attrs=True), seed=seed),
        largest_error=float((found.parts.sum(0) - found.value).abs().max()),
        provenance=clock.provenance(model, task, seed=seed),
    )
