"""Two-hop queries as text: entities, relations, and where their words stand in a prompt."""

from dataclasses import dataclass

from mechbench.errors import TaskError

FIRST_HOP, SECOND_HOP, COMPOSITION = "first_hop", "second_hop", "composition"
ENTITY_SHORTCUT, RELATION_SHORTCUT = "entity_shortcut", "relation_shortcut"
LABELS = (FIRST_HOP, SECOND_HOP, COMPOSITION, ENTITY_SHORTCUT, RELATION_SHORTCUT)
SPANS = ("t1", "t2", "e1", "r1", "r2")
_GAP = "{}"


@dataclass(frozen=True)
class Entity:
    """A name, and what else the entity is called."""

    name: str
    aliases: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """What counts as naming the entity: its name, and aliases of more than one letter."""
        return (self.name, *(alias for alias in self.aliases if len(alias) > 1))


@dataclass(frozen=True)
class TwoHopQuery:
    """The facts (e1, r1, e2) and (e2, r2, e3), of which e1, r1 and r2 are given.

    Attributes:
        r1, r2: names of relations, such as ``performer``, or phrases with a gap for the entity,
            such as ``the company that produced {}`` or, entity first, ``{} is performed by``.
        kind: the set that the query belongs to, such as ``"id_test"``; empty where there is one.
        e2_type: what kind of thing e2 is, such as ``"city"``; empty where that is not known.
    """

    e1: Entity
    e2: Entity
    e3: Entity
    r1: str
    r2: str
    kind: str = ""
    e2_type: str = ""


@dataclass(frozen=True, kw_only=True)
class Templates:
    """How queries become prompts.

    Attributes:
        relation: what a relation that is a name alone makes of an entity.
        two_hop, one_hop: the prompt around a phrase of two relations, and of one. What follows the
            phrase is left out where the outer relation puts its entity first.
        no_entity: the prompt around a phrase of two relations without an entity.
    """

    relation: str = "the {r} of {e}"
    two_hop: str = "{phrase} is"
    one_hop: str = "{phrase} is"
    no_entity: str = "{phrase}"

    def __post_init__(self) -> None:
        wanted = {"relation": ("{r}", "{e}")}
        for field in ("relation", "two_hop", "one_hop", "no_entity"):
            text = getattr(self, field)
            for part in wanted.get(field, ("{phrase}",)):
                if text.count(part) != 1:
                    raise TaskError(f"The template {field}={text!r} must hold {part} once.")

    def gapped(self, relation: str) -> str:
        """A relation as a phrase with one gap for its entity.

        Raises:
            TaskError: a phrase with more than one gap.
        """
        if _GAP not in relation:
            return self.relation.replace("{r}", relation).replace("{e}", _GAP)
        if relation.count(_GAP) != 1:
            raise TaskError(f"The relation {relation!r} must have one gap {{}} for its entity.")
        return relation

    def entity_first(self, relation: str) -> bool:
        """Whether words of the relation follow its entity."""
        return not self.gapped(relation).endswith(_GAP)


ENGLISH = Templates()
WORLD = Templates(relation="{r} {e}", one_hop="the {phrase}")
"""Of the bundled worlds: the answer of one hop follows the entity itself."""


@dataclass(frozen=True)
class SpannedText:
    """A prompt, and ``(first character, end)`` of each span."""

    text: str
    spans: dict[str, tuple[int, int]]


def main_prompt(query: TwoHopQuery, templates: Templates) -> SpannedText:
    """The composition prompt of a query with its spans.

    ``t1`` is the phrase of the first hop and ``t2`` the whole prompt: their last tokens are the
    positions of those names. Of ``r1`` and ``r2`` the span is the last word of the relation that
    is not its ``of``.
    """
    inner, outer = templates.gapped(query.r1), templates.gapped(query.r2)
    before, after = _around(templates.two_hop, outer)
    start = len(before) + outer.index(_GAP)
    name = start + inner.index(_GAP)
    phrase = inner.replace(_GAP, query.e1.name)
    text = before + outer.replace(_GAP, phrase) + after
    shift = len(phrase) - len(_GAP)
    words = _last_word(outer)
    if words[0] > outer.index(_GAP):
        words = (words[0] + shift, words[1] + shift)
    first = _last_word(inner)
    if first[0] > inner.index(_GAP):
        moved = len(query.e1.name) - len(_GAP)
        first = (first[0] + moved, first[1] + moved)
    return SpannedText(
        text,
        {
            "t1": (start, start + len(phrase)),
            "t2": (0, len(text)),
            "e1": (name, name + len(query.e1.name)),
            "r1": (start + first[0], start + first[1]),
            "r2": (len(before) + words[0], len(before) + words[1]),
        },
    )


def prompt_text(query: TwoHopQuery, label: str, templates: Templates) -> str:
    """The prompt that asks for one of ``LABELS``."""
    if label == COMPOSITION:
        return main_prompt(query, templates).text
    if label == RELATION_SHORTCUT:
        inner = " ".join(_without_of(templates.gapped(query.r1)).replace(_GAP, "").split())
        outer = templates.gapped(query.r2)
        return templates.no_entity.replace("{phrase}", outer.replace(_GAP, inner))
    relation, entity = {
        FIRST_HOP: (query.r1, query.e1),
        SECOND_HOP: (query.r2, query.e2),
        ENTITY_SHORTCUT: (query.r2, query.e1),
    }[label]
    gapped = templates.gapped(relation)
    before, after = _around(templates.one_hop, gapped)
    return before + gapped.replace(_GAP, entity.name) + after


def label_target(query: TwoHopQuery, label: str) -> Entity:
    """The entity that the prompt of a label is scored against: e2 for the first hop, else e3."""
    return query.e2 if label == FIRST_HOP else query.e3


def said(entity: Entity, completion: str) -> bool:
    """Whether a completion names an entity: a name of it is a part of the text, in any case.

    Source: Biran et al. 2024, read in their released code.
    """
    lowered = completion.lower()
    return any(name.lower() in lowered for name in entity.names)


def _around(template: str, outer: str) -> tuple[str, str]:
    before, after = template.split("{phrase}")
    return before, after if outer.endswith(_GAP) else ""


def _without_of(gapped: str) -> str:
    ending = f" of {_GAP}"
    return gapped.removesuffix(ending) if gapped.endswith(ending) else gapped


def _last_word(gapped: str) -> tuple[int, int]:
    """First character and end of the relation's last word, its ``of`` before the gap apart."""
    bare = _without_of(gapped).removesuffix(_GAP).rstrip()
    return bare.rfind(" ") + 1, len(bare)
