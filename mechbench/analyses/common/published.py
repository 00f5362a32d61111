"""Reading a published circuit and its numbers, and telling whose numbers they are."""

import json
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mechbench.errors import SpecError
from mechbench.resources import bundled

ACRONYMS = "acronyms_gpt2"
NUMBERS = "published.json"


@dataclass(frozen=True)
class PublishedCircuit:
    """``circuit.json`` and ``published.json`` of one folder of ``circuits``.

    ``numbers`` is empty where the folder has no ``published.json``.
    """

    circuit: dict[str, Any]
    numbers: dict[str, Any]

    @property
    def heads(self) -> tuple[str, ...]:
        """In the order in which the paper adds them."""
        return tuple(head["head"] for head in self.circuit["heads"])

    @property
    def roles(self) -> dict[str, str]:
        return {head["head"]: head["role"] for head in self.circuit["heads"]}

    @property
    def model(self) -> str:
        return self.circuit["model"]["display"]

    @property
    def source(self) -> str:
        paper = self.circuit["paper"]
        arxiv = f", arXiv {paper['arxiv']}" if paper["arxiv"] else ""
        return f"{paper['authors']}: {paper['title']}. {paper['where']}{arxiv}."


def read_published(folder: Path | str | None) -> PublishedCircuit:
    """The published circuit in ``folder`` with its numbers; by default that of the acronyms.

    Raises:
        SpecError: a file is missing or is not JSON, or a head is none of the model's.
    """
    folder = bundled("circuits") / ACRONYMS if folder is None else Path(folder)
    return replace(read_circuit(folder), numbers=_read(folder, NUMBERS))


def read_circuit(folder: Path | str) -> PublishedCircuit:
    """The published circuit in ``folder``, with its numbers where there are any.

    Raises:
        SpecError: ``circuit.json`` is missing, a file is not JSON, or a head is none of the
            model's.
    """
    folder = Path(folder)
    circuit = _read(folder, "circuit.json")
    numbers = _read(folder, NUMBERS) if (folder / NUMBERS).is_file() else {}
    model = circuit["model"]
    for entry in circuit["heads"]:
        match = re.fullmatch(r"(\d+)\.(\d+)", entry["head"])
        inside = match and int(match[1]) < model["n_layers"] and int(match[2]) < model["n_heads"]
        if not inside:
            raise SpecError(
                f"The circuit in {folder.name!r} has the head {entry['head']!r}, and "
                f"{model['display']} has {model['n_layers']} layers of {model['n_heads']} heads, "
                "named layer.head from 0.0."
            )
    return PublishedCircuit(circuit, numbers)


def _read(folder: Path, name: str) -> dict[str, Any]:
    try:
        return json.loads((folder / name).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SpecError(
            f"The published circuit in {folder.name!r} cannot be read: {name}: {error}. Give the "
            "folder that holds circuit.json and published.json."
        ) from error


def same_model(model, published: PublishedCircuit) -> tuple[bool, str]:
    """Whether the published numbers are about ``model``, and the sentence that says so."""
    cfg, wanted, source = model.cfg, published.circuit["model"], model.source
    name = published.model
    sizes = ("n_layers", "n_heads", "d_model", "d_vocab")
    if any(getattr(cfg, size) != wanted[size] for size in sizes) or source.kind not in (
        "hub",
        "folder",
    ):
        return False, (
            f"The published numbers are for {name} and are not comparable with what is measured "
            f"here on {source.name} ({source.kind}); they remain untested on {name} here."
        )
    if source.kind == "hub" and source.name in wanted["names"]:
        return True, f"Measured here on {name} itself ({source.name}), with our own prompts."
    if source.kind == "folder":
        return True, (
            f"Measured here on a folder of {name}'s sizes, with our own prompts; that its weights "
            f"are {name}'s was not checked."
        )
    return False, (
        f"The published numbers are for {name}; {source.name} has its sizes but another name, so "
        "nothing is compared."
    )
