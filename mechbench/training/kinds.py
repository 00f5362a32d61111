"""Every kind of corpus that a recipe can name: one line each."""

from mechbench.training import acronym_kind
from mechbench.training.choice import kind as choice_kind
from mechbench.training.corpus_kind import CorpusKind
from mechbench.training.mixed import kind as mixed_kind
from mechbench.training.two_hop import kind as two_hop_kind

KINDS: tuple[CorpusKind, ...] = (
    acronym_kind.KIND,
    mixed_kind.KIND,
    choice_kind.KIND,
    two_hop_kind.KIND,
)
DEFAULT_KIND = acronym_kind.KIND.name
"""The kind of a corpus section that names none."""


def kind_called(name: str) -> CorpusKind:
    """The kind of that name, which a validated recipe has."""
    return {kind.name: kind for kind in KINDS}[name]
