"""Where the writers and readers of a graph are in a model: hook points and weights."""

from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn

from mechbench.errors import UnsupportedHookError
from mechbench.graphs.topology import Graph, Shape, transformer_graph


@dataclass(frozen=True)
class WriterBank:
    """Writers that share one hook point: the heads of a layer, one MLP, or the embedding.

    Attributes:
        hook_name: of ``[batch pos head d_head]`` where there is a weight, else
            ``[batch pos d_model]``.
        writers: their indices in the graph.
        weight: ``W_O [head d_head d_model]`` of the heads; None where the hook point already has
            d_model.
    """

    hook_name: str
    writers: slice
    weight: Callable[[], Tensor] | None = None

    def outputs(self, native: Tensor) -> Tensor:
        """What each writer adds to the residual stream, ``[writer batch pos d_model]``."""
        if self.weight is None:
            return native[None]
        return torch.einsum("bphc,hcd->hbpd", native, self.weight())


@dataclass(frozen=True)
class ReaderBank:
    """Readers of one kind in one layer: the q (or k, or v) of its heads, its MLP, or the logits.

    Attributes:
        readers: their indices in the graph.
        n_before: how many writers they can read; those come first in the graph.
        stream: hook point of the residual stream they read, ``[batch pos d_model]``.
        input: hook point of their own copies of it before the norm,
            ``[batch pos head d_model]`` for heads.
        projected: hook point of what ``norm`` and ``weight`` make of it,
            ``[batch pos head d_head]``; of the input itself where there is no weight.
        norm: what stands between stream and weight; None where there is no weight.
        weight: ``W_Q``, ``W_K`` or ``W_V`` ``[head d_model d_head]``.
    """

    readers: slice
    n_before: int
    stream: str
    input: str
    projected: str
    norm: nn.Module | None = None
    weight: Callable[[], Tensor] | None = None


@dataclass(frozen=True)
class Wiring:
    """A graph and where its parts are in one model, in the residual stream's order."""

    graph: Graph
    writers: tuple[WriterBank, ...]
    readers: tuple[ReaderBank, ...]


def wire(model, *, n_positions: int | None = None) -> Wiring:
    """The circuit graph of a model and its hook points.

    Raises:
        UnsupportedHookError: blocks that normalise what they add to the residual stream, so that
            heads do not add up.
    """
    _refuse_post_norm(model)
    shape = shape_of(model)
    graph = transformer_graph(shape, n_positions)
    writers, readers = [WriterBank("blocks.0.hook_resid_pre", slice(0, 1))], []
    n_heads, n_kv = shape.n_heads, shape.n_kv_heads
    at = 0  # the next reader
    written = 1
    for layer, block in enumerate(model.blocks):
        prefix, before = f"blocks.{layer}", written
        for kind, width in (("q", n_heads), ("k", n_kv), ("v", n_kv)):
            readers.append(
                ReaderBank(
                    readers=slice(at, at + width),
                    n_before=before,
                    stream=f"{prefix}.hook_resid_pre",
                    input=f"{prefix}.attn.hook_{kind}_input",
                    projected=f"{prefix}.attn.hook_{kind}",
                    norm=block.ln1,
                    weight=_weight(block.attn, f"W_{kind.upper()}"),
                )
            )
            at += width
        heads = slice(written, written + n_heads)
        writers.append(WriterBank(f"{prefix}.attn.hook_z", heads, _weight(block.attn, "W_O")))
        written += n_heads
        if shape.mlps:
            stream = "hook_resid_pre" if shape.parallel else "hook_resid_mid"
            mlp_in = f"{prefix}.hook_mlp_in"
            readers.append(
                ReaderBank(
                    readers=slice(at, at + 1),
                    n_before=before if shape.parallel else written,
                    stream=f"{prefix}.{stream}",
                    input=mlp_in,
                    projected=mlp_in,
                )
            )
            at += 1
            writers.append(WriterBank(f"{prefix}.hook_mlp_out", slice(written, written + 1)))
            written += 1
    final = f"blocks.{shape.n_layers - 1}.hook_resid_post"
    readers.append(
        ReaderBank(
            readers=slice(at, at + 1), n_before=written, stream=final, input=final, projected=final
        )
    )
    return Wiring(graph, tuple(writers), tuple(readers))


def shape_of(model) -> Shape:
    """What decides the graph of a model."""
    cfg = model.cfg
    return Shape(
        n_layers=cfg.n_layers,
        n_heads=cfg.n_heads,
        n_kv_heads=cfg.n_key_value_heads or cfg.n_heads,
        mlps=not cfg.attn_only,
        parallel=cfg.parallel_attn_mlp,
    )


def model_facts(model) -> dict[str, object]:
    """What a circuit file says of its model, and is compared by."""
    return {
        "name": model.source.name,
        "revision": model.source.sha256 or model.source.revision,
        **asdict(shape_of(model)),
        "d_model": model.cfg.d_model,
    }


def _weight(attn, name: str) -> Callable[[], Tensor]:
    """Looked up when used, because weights may move or be processed."""
    return lambda: getattr(attn, name)


def _refuse_post_norm(model) -> None:
    for block in model.blocks:
        if "ln1_post" in dict(block.named_children()):
            raise UnsupportedHookError(
                f"{model.cfg.model_name!r} normalises what its blocks add to the residual stream, "
                "so its heads do not add up and it has no circuit graph."
            )
