"""The fast path of patched generation: rows branch off a run of their prompts and grow from there.

Every prompt is run once. A row enters behind the block whose output is overwritten, at the position
where it is; what lies before, in layers and in positions, is the prompt's own run. The layers are
walked once, rows joining where they enter, and leave behind the keys and values from which all
rows are decoded together.

Suffixes: R rows, B prompts, N positions from the patched one on, D d_model.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mechbench.interventions.state_patches import StatePatch
from mechbench.models.memory import BufferedMemory

# Enough rows for full speed of the matrix products, few enough for what they remember to stay
# small and for their logits to stay in cache.
_MOST_ROWS = {"cpu": 256, "cuda": 4096}


def can_branch(model) -> bool:
    """Whether rows can leave a run of this model in the middle and be decoded from there."""
    can = model.capabilities
    return can.causal and can.restart_at_layer and can.restart_at_position and can.incremental


class BranchedGeneration:
    """Runs patches of one position of prompts of one length."""

    method = "wavefront, remembered keys"

    def __init__(self, model):
        self.model = model
        self.most_rows = _MOST_ROWS.get(model.cfg.device.type, _MOST_ROWS["cpu"])

    def start(
        self, tokens: Tensor, patches: Sequence[StatePatch], states: Tensor, n_new: int
    ) -> "Branches":
        return Branches(self.model, patches, states, n_new)

    def row_bytes(self, n_positions: int, n_new: int) -> int:
        cfg = self.model.cfg
        kv_width = (cfg.n_key_value_heads or cfg.n_heads) * cfg.d_head
        kept = 2 * cfg.n_layers * kv_width * (n_positions + n_new)
        worked = n_positions * (4 * cfg.d_model + 2 * cfg.d_mlp) + 3 * cfg.d_vocab
        return (kept + worked) * self.model.W_E.element_size()


class Branches:
    """Rows that leave their prompts' run at patches of one position, in order of layer."""

    def __init__(self, model, patches: Sequence[StatePatch], states: Tensor, n_new: int):
        self.model, self.n_new = model, n_new
        self.layers = [patch.layer for patch in patches]
        self.start = patches[0].position
        self.written = states[[patch.state for patch in patches]]
        self.buffers: list[tuple[Tensor, Tensor]] = []
        self.memories: list[BufferedMemory] = []

    def __call__(self, new: Int[Tensor, "row pos"]) -> Float[Tensor, "row d_vocab"]:
        if self.memories:
            return self.model.next_token_logits(new, self.memories)
        final = self._prompts(new)
        length = new.shape[1]
        self.memories = [BufferedMemory(k, v, length) for k, v in self.buffers]
        return self.model.unembed(self.model.ln_final(final))[:, 0]

    def _prompts(self, tokens: Tensor) -> Tensor:
        """The patched residual stream after the last block at the last position, ``[R 1 D]``."""
        n_layers = self.model.cfg.n_layers
        unique, prompt = torch.unique(tokens, dim=0, return_inverse=True)
        base = self._base_run(unique)
        for layer in range(n_layers):
            k, v = (self._buffer(base.pop(name), prompt) for name in _kv(layer))
            self.buffers.append((k, v))
        rows = self.written.new_empty(
            len(tokens), tokens.shape[1] - self.start, self.written.shape[1]
        )
        active = 0
        for layer in range(self.layers[0], n_layers):
            if active:
                self._through_block(rows[:active], layer)
            joining = self.layers.count(layer)
            if joining:
                new = slice(active, active + joining)
                rows[new] = base[_post(layer)][prompt[new], self.start :]
                rows[new, 0] = self.written[new]
                active += joining
        return rows[:, -1:]

    def _base_run(self, unique: Tensor) -> dict[str, Tensor]:
        """The prompts' own run where rows leave it, and all its keys and values."""
        names = [_post(layer) for layer in dict.fromkeys(self.layers)]
        names += [name for layer in range(self.model.cfg.n_layers) for name in _kv(layer)]
        _, cache = self.model.run_with_cache(
            unique,
            names_filter=names,
            return_cache_object=False,
            stop_at_layer=self.model.cfg.n_layers,
        )
        return cache

    def _buffer(self, base: Tensor, prompt: Tensor) -> Tensor:
        """Keys or values of the prompts, one copy per row, with room for the new tokens."""
        length = base.shape[1]
        buffer = base.new_empty(len(prompt), length + self.n_new - 1, *base.shape[2:])
        buffer[:, :length] = base[prompt]
        return buffer

    def _through_block(self, rows: Tensor, layer: int) -> None:
        """Run one block on the rows in flight, in place; of the last one the last position."""
        block = self.model.blocks[layer]
        k, v = (buffer[: len(rows)] for buffer in self.buffers[layer])
        memory = BufferedMemory(k, v, self.start)
        last = layer == self.model.cfg.n_layers - 1
        if last and self.model.capabilities.restart_in_block:
            queries = torch.full((len(rows), 1), rows.shape[1] - 1, device=rows.device)
            rows[:, -1:] = block.to_post(block.to_mid(rows, memory=memory, queries=queries))
        else:
            rows[:] = block(rows, memory=memory)


def _post(layer: int) -> str:
    return f"blocks.{layer}.hook_resid_post"


def _kv(layer: int) -> tuple[str, str]:
    return f"blocks.{layer}.attn.hook_k", f"blocks.{layer}.attn.hook_v"
