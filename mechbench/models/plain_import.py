"""Plain transformers from a file of named matrices: one's own constructed or compiled models.

Two sets of names are understood. The native one is that of the model's own weights, in
TransformerLens' layouts::

    embed.W_E [d_vocab d_model]              pos_embed.W_pos [n_ctx d_model], or none
    blocks.0.attn.W_Q, .W_K, .W_V [head d_model d_head]     .b_Q, .b_K, .b_V [head d_head]
    blocks.0.attn.W_O [head d_head d_model]                 .b_O [d_model]
    blocks.0.mlp.W_in [d_model d_mlp], .b_in [d_mlp]        .W_out [d_mlp d_model], .b_out [d_model]
    unembed.W_U [d_model d_vocab_out], .b_U [d_vocab_out]

The other is that of Haiku's parameters in programs compiled by Tracr (Lindner et al. 2023), with
``/`` between module and parameter::

    token_embed/embeddings [d_vocab d_model]                pos_embed/embeddings [n_ctx d_model]
    transformer/layer_0/attn/query/w, key/w, value/w [d_model head*d_head]      /b [head*d_head]
    transformer/layer_0/attn/linear/w [head*d_head d_model]                     /b [d_model]
    transformer/layer_0/mlp/linear_1/w [d_model d_mlp], linear_2/w [d_mlp d_model]   /b
    unembed/w [d_model d_vocab_out]

Tracr keeps its unembedding outside the parameters (it picks the output's directions out of the
residual stream), so ``unembed/w`` has to be added under this name; without it the logits are the
residual stream itself. A pad token, which Tracr can mask, is not masked here.

Biases that are absent are zero. A model without any ``mlp`` matrix has attention alone. Facts stand
in the metadata of a safetensors file, or in the npz file as arrays without axes: ``n_heads`` (Haiku
names only, where it cannot be inferred), ``causal`` (true for native names; false for Haiku's, as
Tracr compiles by default), ``act`` (``relu``), ``n_ctx`` (needed where there is no position
embedding).
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor

from mechbench.errors import SpecError
from mechbench.models.checkpoint import raise_problems
from mechbench.models.named_arrays import SUFFIXES, read_named_arrays
from mechbench.models.source import ModelSource
from mechbench.models.variants.plain import SPEC, Plain, PlainConfig

__all__ = ["SUFFIXES", "load_plain"]

_HAIKU = {
    "attn/query/": ("attn.W_Q", "attn.b_Q"),
    "attn/key/": ("attn.W_K", "attn.b_K"),
    "attn/value/": ("attn.W_V", "attn.b_V"),
    "attn/linear/": ("attn.W_O", "attn.b_O"),
    "mlp/linear_1/": ("mlp.W_in", "mlp.b_in"),
    "mlp/linear_2/": ("mlp.W_out", "mlp.b_out"),
}
_FACTS = ("n_heads", "causal", "act", "n_ctx")


def load_plain(
    path: str | Path,
    *,
    n_heads: int | None = None,
    causal: bool | None = None,
    act: str | None = None,
    n_ctx: int | None = None,
    dtype: torch.dtype = torch.float32,
) -> Plain:
    """A plain transformer with the matrices of an ``.npz`` or ``.safetensors`` file.

    Args:
        n_heads, causal, act, n_ctx: go before what the file says.

    Raises:
        CheckpointError: a file that cannot be read, matrices that are missing, not expected or of
            the wrong shape (all are listed), or a fact that is missing or means nothing.
    """
    file = read_named_arrays(Path(path).expanduser())
    given = {"n_heads": n_heads, "causal": causal, "act": act, "n_ctx": n_ctx}
    facts = {**file.facts, **{k: str(v) for k, v in given.items() if v is not None}}
    problems: list[str] = []
    haiku = any("/" in name for name in file.arrays)
    weights = dict(file.arrays)
    if haiku:
        weights = _native(file.arrays, _count(facts, "n_heads", problems), problems)
    config = _config(weights, facts, causal=not haiku, problems=problems)
    if config is None:
        raise_problems(file.path, problems)
    assert config is not None
    model = SPEC.build_empty(config, file.path.stem, dtype)
    problems += _fill(model, weights)
    raise_problems(file.path, problems)
    model.source = ModelSource(name=file.path.name, kind="file", sha256=file.sha256)
    return model


def _native(
    arrays: Mapping[str, Tensor], n_heads: int | None, problems: list[str]
) -> dict[str, Tensor]:
    """Haiku's parameters under native names, in native layouts."""
    if n_heads is None:
        problems.append(
            "n_heads is not known, and the matrices do not say it: store it beside them, or give "
            "load_plain(path, n_heads=...)"
        )
    native: dict[str, Tensor] = {}
    for name, array in arrays.items():
        ours = _native_name(name)
        if ours is None:
            problems.append(f"matrix {name} is not expected")
            continue
        leaf = ours.rsplit(".", 1)[-1]
        if leaf in ("W_Q", "W_K", "W_V", "W_O", "b_Q", "b_K", "b_V"):
            axis = 0 if leaf == "W_O" else array.dim() - 1
            if n_heads is None or array.shape[axis] % n_heads:
                if n_heads is not None:
                    problems.append(
                        f"matrix {name} has shape {list(array.shape)}, which n_heads = {n_heads} "
                        "does not divide"
                    )
                continue
            array = array.unflatten(axis, (n_heads, -1))
            array = array.movedim(1, 0) if leaf in ("W_Q", "W_K", "W_V") else array
        native[ours] = array
    embedding = native.get("embed.W_E")
    if "unembed.W_U" not in native and embedding is not None:
        native["unembed.W_U"] = torch.eye(embedding.shape[-1], dtype=torch.float64)
    return native


def _native_name(name: str) -> str | None:
    whole = {
        "token_embed/embeddings": "embed.W_E",
        "pos_embed/embeddings": "pos_embed.W_pos",
        "unembed/w": "unembed.W_U",
        "unembed/b": "unembed.b_U",
    }
    match = re.fullmatch(r"transformer/layer_(\d+)/(\w+/\w+/)([wb])", name)
    if match is None or match[2] not in _HAIKU:
        return whole.get(name)
    return f"blocks.{match[1]}.{_HAIKU[match[2]][match[3] == 'b']}"


def _config(
    weights: Mapping[str, Tensor], facts: Mapping[str, str], *, causal: bool, problems: list[str]
) -> PlainConfig | None:
    """The sizes that the matrices have; None, with the problems, where some cannot be told."""
    before = len(problems)
    problems += [
        f"fact {name} is not known: use {', '.join(_FACTS)}" for name in facts if name not in _FACTS
    ]
    layers = [int(m[1]) for name in weights if (m := re.match(r"blocks\.(\d+)\.", name))]
    sizes: dict[str, int] = {}
    for name, axes in (
        ("embed.W_E", {"d_vocab": 0, "d_model": 1}),
        ("unembed.W_U", {"d_vocab_out": 1}),
        ("blocks.0.attn.W_Q", {"n_heads": 0, "d_head": 2}),
    ):
        array, dims = weights.get(name), 3 if "W_Q" in name else 2
        if array is None:
            problems.append(f"matrix {name} is missing")
        elif array.dim() != dims:
            problems.append(f"matrix {name} has shape {list(array.shape)}, expected {dims} axes")
        else:
            sizes.update({size: array.shape[axis] for size, axis in axes.items()})
    neurons = [w for name, w in weights.items() if name.endswith("mlp.W_in") and w.dim() == 2]
    has_mlp = any(".mlp." in name for name in weights)
    positions = weights.get("pos_embed.W_pos")
    n_ctx = len(positions) if positions is not None else _count(facts, "n_ctx", problems)
    if n_ctx is None:
        problems.append(
            "n_ctx is not known, because there is no position embedding: store it beside the "
            "matrices, or give load_plain(path, n_ctx=...)"
        )
    if has_mlp and not neurons:
        problems.append("matrix blocks.0.mlp.W_in is missing")
    stated = _count(facts, "n_heads", problems)
    if stated is not None and sizes.get("n_heads", stated) != stated:
        problems.append(f"n_heads = {stated}, but the matrices have {sizes['n_heads']} heads")
    if facts.get("causal", "True").lower() not in ("true", "false"):
        problems.append(f"causal = {facts['causal']!r}, which must be true or false")
    if len(problems) > before or n_ctx is None or len(sizes) < 5:
        return None
    try:
        return PlainConfig(
            n_layers=max(layers) + 1,
            d_mlp=neurons[0].shape[1] if neurons else 0,
            n_ctx=n_ctx,
            act=facts.get("act", "relu"),
            causal=facts.get("causal", str(causal)).lower() == "true",
            learned_positions=positions is not None,
            **sizes,
        )
    except SpecError as error:
        problems.append(str(error).rstrip("."))
        return None


def _count(facts: Mapping[str, str], name: str, problems: list[str]) -> int | None:
    """A positive whole number among the facts; None where it is absent or is none."""
    if name not in facts:
        return None
    if facts[name].isdecimal() and int(facts[name]) > 0:
        return int(facts[name])
    problem = f"{name} = {facts[name]!r}, which must be a positive whole number"
    if problem not in problems:
        problems.append(problem)
    return None


@torch.no_grad()
def _fill(model: Plain, weights: Mapping[str, Tensor]) -> Iterator[str]:
    """Put the matrices into the model; yields what is missing, misshapen or not expected."""
    targets = model.state_dict()
    for name, target in targets.items():
        array = weights.get(name)
        if array is None:
            if not name.rsplit(".", 1)[-1].startswith("b_"):
                yield f"matrix {name} is missing"
            target.zero_()
        elif array.shape != target.shape:
            yield (
                f"matrix {name} has shape {list(array.shape)}, expected {list(target.shape)} "
                "as the others say"
            )
        else:
            target.copy_(array)
    yield from (f"matrix {name} is not expected" for name in weights if name not in targets)
