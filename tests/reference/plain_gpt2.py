"""GPT-2 written down as equations, in float64, without modules or hook points: what tests compare.

``run(weights, tokens, edit)`` calls ``edit(name, value)`` wherever the model has a hook point and
goes on with what it returns. Each head's three inputs are kept apart, so that an edge is one edit.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

Edit = Callable[[str, Tensor], Tensor]


def untouched(name: str, value: Tensor) -> Tensor:
    return value


class PlainGPT2:
    """A model's weights in float64, and its forward pass."""

    def __init__(self, model):
        self.weights = {name: value.detach().double() for name, value in model.named_parameters()}
        if "unembed.W_U" not in self.weights:
            embedding = self.weights["embed.W_E"]
            self.weights["unembed.W_U"] = embedding.T
            self.weights["unembed.b_U"] = embedding.new_zeros(len(embedding))
        self.n_layers, self.n_heads = model.cfg.n_layers, model.cfg.n_heads

    def _norm(self, name: str, x: Tensor, edit: Edit) -> Tensor:
        x = x - x.mean(-1, keepdim=True)
        variance = (x * x).sum(-1, keepdim=True) / x.shape[-1]
        x = x / edit(f"{name}.hook_scale", torch.sqrt(variance + 1e-5))
        if f"{name}.w" in self.weights:
            x = x * self.weights[f"{name}.w"] + self.weights[f"{name}.b"]
        return edit(f"{name}.hook_normalized", x)

    def _attention(self, layer: int, resid: Tensor, edit: Edit) -> Tensor:
        W, at = self.weights, f"blocks.{layer}.attn"
        n_pos = resid.shape[1]
        split = torch.stack([resid] * self.n_heads, dim=2)
        made = {}
        for part in "qkv":
            x = edit(f"{at}.hook_{part}_input", split)
            x = self._norm(f"blocks.{layer}.ln1", x, untouched)
            weight, bias = W[f"{at}.W_{part.upper()}"], W[f"{at}.b_{part.upper()}"]
            heads = [x[:, :, h] @ weight[h] + bias[h] for h in range(self.n_heads)]
            made[part] = edit(f"{at}.hook_{part}", torch.stack(heads, dim=2))
        scores = torch.zeros(len(resid), self.n_heads, n_pos, n_pos, dtype=torch.float64)
        for query in range(n_pos):
            for key in range(n_pos):
                product = (made["q"][:, query] * made["k"][:, key]).sum(-1)
                scores[:, :, query, key] = product / math.sqrt(made["q"].shape[-1])
                if key > query:
                    scores[:, :, query, key] = -math.inf
        scores = edit(f"{at}.hook_attn_scores", scores)
        odds = (scores - scores.max(-1, keepdim=True).values).exp()
        pattern = edit(f"{at}.hook_pattern", odds / odds.sum(-1, keepdim=True))
        z = [pattern[:, h] @ made["v"][:, :, h] for h in range(self.n_heads)]
        z = edit(f"{at}.hook_z", torch.stack(z, dim=2))
        result = [z[:, :, h] @ W[f"{at}.W_O"][h] for h in range(self.n_heads)]
        result = edit(f"{at}.hook_result", torch.stack(result, dim=2))
        return result.sum(2) + W[f"{at}.b_O"]

    def _mlp(self, layer: int, x: Tensor, edit: Edit) -> Tensor:
        W, at = self.weights, f"blocks.{layer}.mlp"
        pre = edit(f"{at}.hook_pre", x @ W[f"{at}.W_in"] + W[f"{at}.b_in"])
        gelu = 0.5 * pre * (1 + torch.tanh(math.sqrt(2 / math.pi) * (pre + 0.044715 * pre**3)))
        return edit(f"{at}.hook_post", gelu) @ W[f"{at}.W_out"] + W[f"{at}.b_out"]

    def run(self, tokens: Tensor, edit: Edit = untouched) -> Tensor:
        """Logits ``[batch pos d_vocab]``."""
        W = self.weights
        embed = edit("hook_embed", W["embed.W_E"][tokens])
        positions = W["pos_embed.W_pos"][: tokens.shape[1]].expand_as(embed)
        resid = embed + edit("hook_pos_embed", positions)
        for layer in range(self.n_layers):
            at = f"blocks.{layer}"
            resid = edit(f"{at}.hook_resid_pre", resid)
            # ln1's hook points as all heads share them: to be read, not edited.
            self._norm(f"{at}.ln1", resid, edit)
            resid = resid + edit(f"{at}.hook_attn_out", self._attention(layer, resid, edit))
            resid = edit(f"{at}.hook_resid_mid", resid)
            mlp_in = self._norm(f"{at}.ln2", edit(f"{at}.hook_mlp_in", resid), edit)
            resid = resid + edit(f"{at}.hook_mlp_out", self._mlp(layer, mlp_in, edit))
            resid = edit(f"{at}.hook_resid_post", resid)
        return self._norm("ln_final", resid, edit) @ W["unembed.W_U"] + W["unembed.b_U"]

    def cache(self, tokens: Tensor, edit: Edit = untouched) -> dict[str, Tensor]:
        """Every value that ``run`` names, by hook name."""
        seen = {}

        def keep(name: str, value: Tensor) -> Tensor:
            seen[name] = edit(name, value)
            return seen[name]

        self.run(tokens, keep)
        return seen


def replacing(name: str, new: Tensor, where: tuple = (...,)) -> Edit:
    """The edit that puts ``new[where]`` into the value called ``name``, and nothing else."""

    def edit(at: str, value: Tensor) -> Tensor:
        if at != name:
            return value
        value = value.clone()
        value[where] = new[where]
        return value

    return edit
