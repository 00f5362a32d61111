"""Where a model's weights came from and what was done to them: the provenance of every result."""

from dataclasses import dataclass
from typing import Literal

SourceKind = Literal["random", "bundled", "folder", "file", "hub", "constructed"]


@dataclass(frozen=True, kw_only=True)
class ModelSource:
    """Enough to load the same weights again.

    Attributes:
        name: as given to ``load_model``; of a random model, its ``cfg.model_name``.
        kind: ``random`` for a model that was built and not loaded, ``constructed`` for one whose
            weights mechbench writes itself.
        revision: commit on the Hugging Face hub.
        sha256: of the weight files on disk, in name order; None for hub models, whose revision
            says it already.
        snapshot: training step of a bundled model's snapshot.
        processing: what changed the weights after reading, in order: ``fold_ln``,
            ``center_writing_weights``, ``center_unembed``.
        through: ``mechbench`` for a re-implementation, ``TransformerBridge`` otherwise.
    """

    name: str
    kind: SourceKind
    revision: str | None = None
    sha256: str | None = None
    snapshot: int | None = None
    processing: tuple[str, ...] = ()
    through: Literal["mechbench", "TransformerBridge"] = "mechbench"
