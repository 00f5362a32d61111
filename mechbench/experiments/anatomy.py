"""What a model is made of, from its config alone: hook points, circuit graph, routers, experts.

No weights are read and none are made: the model is built on torch's meta device.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mechbench.errors import UnsupportedHookError
from mechbench.graphs.wiring import wire
from mechbench.models.bundled import is_model_folder, read_model_folder
from mechbench.models.hook_axes import hook_axes
from mechbench.models.spec import VariantSpec

_LAYER = re.compile(r"^blocks\.(\d+)\.")


@dataclass(frozen=True)
class HookPoints:
    """Hook points that differ by their layer only.

    Attributes:
        name: with ``{layer}`` in the place of the layer, where there is one.
        layers: those that have it; none outside blocks.
        axes: as "batch pos d_model".
    """

    name: str
    layers: tuple[int, ...]
    axes: str


@dataclass(frozen=True)
class Anatomy:
    """A model's parts.

    Attributes:
        architecture: the variant's name.
        hooks: all hook points, those of a block once.
        n_hooks: their number, those of every layer counted.
        writers, readers: of the circuit graph, by name.
        n_edges: of the circuit graph.
        no_graph: why there is no circuit graph; empty where there is one.
        routed: blocks that tokens go through or past.
        experts: layers that have experts.
        inspections: analyses that look at what only this architecture has.
    """

    architecture: str
    hooks: tuple[HookPoints, ...]
    n_hooks: int
    writers: tuple[str, ...]
    readers: tuple[str, ...]
    n_edges: int
    no_graph: str
    routed: tuple[int, ...]
    experts: tuple[int, ...]
    inspections: tuple[str, ...]


def folder_anatomy(path: Path) -> Anatomy | None:
    """The parts of the model in one of mechbench's own folders; None for a folder of another kind.

    Raises:
        CheckpointError: a ``config.json`` that is none.
    """
    file = path / "config.json"
    if not file.is_file() or not is_model_folder(json.loads(file.read_text(encoding="utf-8"))):
        return None
    folder = read_model_folder(path)
    return anatomy(folder.spec, folder.config)


def anatomy(spec: VariantSpec, config: Any) -> Anatomy:
    """The parts of a model of this architecture and config."""
    with torch.device("meta"):
        model = spec.build(config, spec.name)
    writers, readers, n_edges, no_graph = (), (), 0, ""
    try:
        graph = wire(model).graph
        writers = tuple(writer.name for writer in graph.writers)
        readers = tuple(reader.name for reader in graph.readers)
        n_edges = graph.n_edges
    except UnsupportedHookError as error:
        no_graph = str(error)
    names = list(model.hook_dict)
    return Anatomy(
        architecture=spec.name,
        hooks=_grouped(names, spec),
        n_hooks=len(names),
        writers=writers,
        readers=readers,
        n_edges=n_edges,
        no_graph=no_graph,
        routed=_layers_with(names, ".mod.hook_selected_mask"),
        experts=_layers_with(names, ".hook_expert_weights"),
        inspections=spec.inspections,
    )


def _grouped(names: list[str], spec: VariantSpec) -> tuple[HookPoints, ...]:
    found: dict[str, list[int]] = {}
    for name in names:
        at = _LAYER.match(name)
        layers = found.setdefault(_LAYER.sub("blocks.{layer}.", name), [])
        if at is not None:
            layers.append(int(at[1]))
    return tuple(
        HookPoints(name, tuple(layers), hook_axes(name, spec)) for name, layers in found.items()
    )


def _layers_with(names: list[str], end: str) -> tuple[int, ...]:
    return tuple(int(name.split(".")[1]) for name in names if name.endswith(end))
