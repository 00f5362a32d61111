"""Patched prompts run whole, several side by side: for models that cannot be entered in the middle.

New tokens are then decoded from remembered keys and values where the model has them, and by whole
forward passes where it has not.
"""

from collections import defaultdict
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from mechbench.interventions.state_patches import StatePatch
from mechbench.models.generation import Recomputing, Remembering


class FullGeneration:
    """Runs patches of prompts of one length by hooks on whole prompts."""

    most_rows = 128

    def __init__(self, model):
        self.model = model
        remembers = model.capabilities.incremental
        self._run_type = Remembering if remembers else Recomputing
        self.method = "whole prompts, " + ("remembered keys" if remembers else "full forwards")

    def start(
        self, tokens: Tensor, patches: Sequence[StatePatch], states: Tensor, n_new: int
    ) -> Remembering | Recomputing:
        by_layer: dict[int, list[int]] = defaultdict(list)
        for row, patch in enumerate(patches):
            by_layer[patch.layer].append(row)
        hooks = []
        for layer, rows in by_layer.items():
            positions = [patches[row].position for row in rows]
            new = states[[patches[row].state for row in rows]]
            write = partial(_write, rows=rows, positions=positions, new=new)
            hooks.append((f"blocks.{layer}.hook_resid_post", write))
        return self._run_type(self.model, hooks, "prompt")

    def row_bytes(self, n_positions: int, n_new: int) -> int:
        cfg = self.model.cfg
        n = n_positions + n_new
        per_position = 2 * cfg.d_vocab + (8 + 2 * cfg.n_layers) * cfg.d_model + 3 * cfg.d_mlp
        return n * per_position * self.model.W_E.element_size()


def _write(resid: Tensor, hook, *, rows: list[int], positions: list[int], new: Tensor) -> Tensor:
    resid = resid.clone()
    resid[torch.tensor(rows), torch.tensor(positions)] = new.to(resid)
    return resid
