"""Edge patching written down as equations, in float64: the oracle of every circuit evaluation.

Each reader's input is formed by itself as the sum of all writers' outputs, some of them taken from
the other run. Slow and obvious; for models whose blocks are ``x + attn(norm(x))`` and then
``x + mlp(norm(x))`` (or attention alone), with LayerNorm or none, and without shared keys.

Names: writers ``input``, ``a0.h1``, ``m0``; readers ``a0.h1<q>``, ``<k>``, ``<v>``, ``m0``,
``logits``; edges ``a0.h1->m0``. Attention's output bias belongs to no head: every reader after it
reads it, and no edge carries it.
"""

import math
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

ACTIVATIONS = {
    "relu": lambda x: torch.where(x > 0, x, 0.0),
    "gelu": lambda x: x * 0.5 * (1 + torch.erf(x / math.sqrt(2))),
    "gelu_new": lambda x: (
        0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    ),
    "identity": lambda x: x,
}


class EdgeReference:
    """A model's weights in float64, and its forward pass with any edges taken from another run."""

    def __init__(self, model):
        assert model.cfg.n_key_value_heads in (None, model.cfg.n_heads)
        assert model.cfg.normalization_type in (None, "LN", "LNPre")
        assert not model.cfg.parallel_attn_mlp
        self.weights = {name: w.detach().double() for name, w in model.tl_parameters().items()}
        self.cfg, self.causal = model.cfg, model.capabilities.causal
        self.eps = getattr(model.config, "layer_norm_eps", None)

    # --- names ----------------------------------------------------------------------------------

    def writers(self) -> list[str]:
        """In the residual stream's order."""
        names = ["input"]
        for layer in range(self.cfg.n_layers):
            names += [f"a{layer}.h{head}" for head in range(self.cfg.n_heads)]
            names += [] if self.cfg.attn_only else [f"m{layer}"]
        return names

    def edges(self) -> list[str]:
        """All edges: each writer to every reader that comes after it."""
        found, written = [], ["input"]
        for layer in range(self.cfg.n_layers):
            heads = [f"a{layer}.h{head}" for head in range(self.cfg.n_heads)]
            readers = [f"{head}<{part}>" for head in heads for part in "qkv"]
            found += [f"{writer}->{reader}" for reader in readers for writer in written]
            written = written + heads
            if not self.cfg.attn_only:
                found += [f"{writer}->m{layer}" for writer in written]
                written = written + [f"m{layer}"]
        return found + [f"{writer}->logits" for writer in written]

    # --- running --------------------------------------------------------------------------------

    def outputs(self, tokens: Tensor) -> dict[str, Tensor]:
        """What each writer writes in an ordinary run, ``[batch pos d_model]`` each."""
        return self._run(tokens, frozenset(), {})[1]

    def logits(
        self, tokens: Tensor, patched: Iterable[str] = (), other: Mapping[str, Tensor] | None = None
    ) -> Tensor:
        """Logits ``[batch pos d_vocab]``; the patched edges carry the writer's ``other`` output."""
        patched = frozenset(patched)
        unknown = patched - set(self.edges())
        assert not unknown, sorted(unknown)
        return self._run(tokens, patched, other or {})[0]

    def _run(
        self, tokens: Tensor, patched: frozenset[str], other: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        W = self.weights
        embed = W["embed.W_E"][tokens]
        if "pos_embed.W_pos" in W:
            embed = embed + W["pos_embed.W_pos"][: tokens.shape[1]]
        written = {"input": embed}
        biases = torch.zeros_like(embed)

        def read(reader: str) -> Tensor:
            """The reader's own copy of the residual stream."""
            parts = [
                other[writer] if f"{writer}->{reader}" in patched else output
                for writer, output in written.items()
            ]
            return torch.stack([biases, *parts]).sum(0)

        for layer in range(self.cfg.n_layers):
            heads = {}
            for head in range(self.cfg.n_heads):
                name = f"a{layer}.h{head}"
                heads[name] = self._head(layer, head, *(read(f"{name}<{part}>") for part in "qkv"))
            written.update(heads)
            biases = biases + W[f"blocks.{layer}.attn.b_O"]
            if not self.cfg.attn_only:
                written[f"m{layer}"] = self._mlp(layer, read(f"m{layer}"))
        final = self._norm("ln_final", read("logits"))
        return final @ W["unembed.W_U"] + W["unembed.b_U"], written

    def _norm(self, name: str, x: Tensor) -> Tensor:
        if self.cfg.normalization_type is None:
            return x
        x = x - x.mean(-1, keepdim=True)
        x = x / torch.sqrt((x * x).sum(-1, keepdim=True) / x.shape[-1] + self.eps)
        if self.cfg.normalization_type == "LN":
            x = x * self.weights[f"{name}.w"] + self.weights[f"{name}.b"]
        return x

    def _head(self, layer: int, head: int, *inputs: Tensor) -> Tensor:
        W, at = self.weights, f"blocks.{layer}.attn"
        q, k, v = (
            self._norm(f"blocks.{layer}.ln1", x) @ W[f"{at}.W_{part}"][head]
            + W[f"{at}.b_{part}"][head]
            for part, x in zip("QKV", inputs, strict=True)
        )
        scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
        if self.causal:
            n_pos = scores.shape[-1]
            later = torch.ones(n_pos, n_pos, dtype=torch.bool).triu(1)
            scores = scores.masked_fill(later, -math.inf)
        odds = (scores - scores.max(-1, keepdim=True).values).exp()
        return odds / odds.sum(-1, keepdim=True) @ v @ W[f"{at}.W_O"][head]

    def _mlp(self, layer: int, x: Tensor) -> Tensor:
        W, at = self.weights, f"blocks.{layer}.mlp"
        pre = self._norm(f"blocks.{layer}.ln2", x) @ W[f"{at}.W_in"] + W[f"{at}.b_in"]
        return ACTIVATIONS[self.cfg.act_fn](pre) @ W[f"{at}.W_out"] + W[f"{at}.b_out"]


def edge_patched_metric(
    model, pairs, metric, edges: Iterable[str], direction: str = "noise"
) -> Tensor:
    """The metric ``[prompt answer]`` with some edges patched, in float64.

    ``"noise"`` runs the clean prompts and takes what the edges carry from the corrupted ones;
    ``"denoise"`` the other way round. An edge that is patched carries what its writer wrote in the
    undisturbed other run; all others carry what it writes in this run, patches included. The
    circuit C with everything else corrupted is therefore all edges but C, under ``"noise"``.
    """
    reference = EdgeReference(model)
    here, there = pairs.clean, pairs.corrupt
    if direction == "denoise":
        here, there = there, here
    else:
        assert direction == "noise", direction
    logits = reference.logits(here, edges, reference.outputs(there))
    rows = torch.arange(len(logits))[:, None]
    read = logits[rows, metric.positions]
    return metric(read if metric.vocab is None else read[..., metric.vocab])
