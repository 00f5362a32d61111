"""What a planted circuit is: a model whose circuit is known because its weights were written."""

from collections.abc import Iterable
from dataclasses import dataclass

from mechbench.models.variants.plain import Plain
from mechbench.planted.task import PlantedTask
from mechbench.tasks.metrics import LogitDifference
from mechbench.tasks.pairs import PromptPairs


@dataclass(frozen=True, kw_only=True, eq=False)
class Planted:
    """A constructed model, a task that it solves, and the edges by which it does.

    Attributes:
        edges: those that carry what makes clean and corrupted prompts differ, from the tokens to
            the logits: the ones that exact patching can find. Names as ``a0.h1->a1.h0<k>``.
        fixed_edges: those that the mechanism also needs, but that no patch from the other run can
            show, because they carry the same in both (where to look, by position), or what the
            reader takes alike. Zero ablation shows them.
        why: the mechanism, in words.
    """

    name: str
    model: Plain
    task: PlantedTask
    edges: frozenset[str]
    fixed_edges: frozenset[str]
    why: str

    @property
    def pairs(self) -> PromptPairs:
        """The task's clean and corrupted prompts."""
        return self.task.pairs()

    @property
    def metric(self) -> LogitDifference:
        """Logit of the answer minus that of the corrupted prompt's answer, in logits."""
        return self.task.metric()

    @property
    def nodes(self) -> frozenset[str]:
        """The heads and MLPs of the circuit."""
        return frozenset(_parts(self.edges))

    @property
    def distractors(self) -> frozenset[str]:
        """All other heads and MLPs: active, and irrelevant to the metric whichever run they see."""
        cfg = self.model.cfg
        layers = range(cfg.n_layers)
        heads = {f"a{layer}.h{head}" for layer in layers for head in range(cfg.n_heads)}
        return frozenset(heads | {f"m{layer}" for layer in layers}) - self.nodes


def _parts(edges: Iterable[str]) -> set[str]:
    ends = {end.split("<")[0] for edge in edges for end in edge.split("->")}
    return ends - {"input", "logits"}
