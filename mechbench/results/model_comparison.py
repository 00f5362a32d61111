"""What the cards of some models say, and what their architectures keep in generation."""

from dataclasses import dataclass
from typing import Any

import xarray as xr

from mechbench.results.base import Result

MODEL, TASK, LENGTH = "model", "task", "length"


@dataclass(frozen=True, kw_only=True, eq=False)
class ModelComparison(Result):
    """Models side by side, from their cards and configs; nothing was run.

    All numbers of a card were measured in this repository when the model was made.
    ``architectures`` and ``corpora`` (what kind of text it was trained on) are by model;
    ``configs`` are whole. ``parameters`` (model) counts weights.

    ``accuracy`` (model task) is the share of right answers on held-out prompts, ``control`` that of
    the model's dense control on the same prompts, and ``n_answers`` how many answers were scored;
    NaN where a card has none. ``mean_accuracy`` (model) is the mean over the model's tasks; models
    of different ``corpora`` have different tasks, so theirs are not comparable. Cards have no
    intervals of these.

    ``cache`` (model length) are the bytes that generation keeps of one prompt after so many tokens,
    in single precision, by the architecture's formula, NaN beyond the context; for the models in
    ``bounds`` it is the most that can be kept. ``cache_per_token`` (model) is what was measured
    after ``measured_at`` (model) random tokens, divided by them, and ``flops_per_token`` (model)
    the work of a forward pass of as many; NaN where a card has none.
    """

    architectures: dict[str, str]
    corpora: dict[str, str]
    configs: dict[str, dict[str, Any]]
    bounds: tuple[str, ...]
    parameters: xr.DataArray
    accuracy: xr.DataArray
    control: xr.DataArray
    n_answers: xr.DataArray
    mean_accuracy: xr.DataArray
    cache: xr.DataArray
    cache_per_token: xr.DataArray
    measured_at: xr.DataArray
    flops_per_token: xr.DataArray

    def settings(self) -> dict[str, dict[str, Any]]:
        """Of every setting of any config the value in each model that has it."""
        names = dict.fromkeys(name for config in self.configs.values() for name in config)
        return {
            name: {model: config[name] for model, config in self.configs.items() if name in config}
            for name in names
        }

    def differing(self) -> tuple[str, ...]:
        """The settings that not all models have in common."""
        found = []
        for name, values in self.settings().items():
            first, *others = values.values()
            if len(values) < len(self.configs) or any(other != first for other in others):
                found.append(name)
        return tuple(found)
