"""Reading a published circuit and its numbers, and telling whose numbers they are."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mechbench.errors import SpecError
from mechbench.resources import bundled

ACRONYMS = "acronyms_gpt2"


@dataclass(frozen=True)
class PublishedCircuit:
    """``circuit.json`` and ``published.json`` of one folder of ``circuits``."""

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
        return f"{paper['authors']}: {paper['title']}. {paper['where']}, arXiv {paper['arxiv']}."


def read_published(folder: Path | str | None) -> PublishedCircuit:
    """The published circuit in ``folder``; by default the acronym circuit of GPT-2 small.

    Raises:
        SpecError: a file is missing or is not JSON.
    """
    folder = bundled("circuits") / ACRONYMS if folder is None else Path(folder)
    parts = []
    for name in ("circuit.json", "published.json"):
        try:
            parts.append(json.loads((folder / name).read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            raise SpecError(
                f"The published circuit in {folder.name!r} cannot be read: {name}: {error}. Give "
                "the folder that holds circuit.json and published.json."
            ) from error
    return PublishedCircuit(*parts)


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
