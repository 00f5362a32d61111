"""The words of the common corpus that no list of ``data/words`` and no task of mechbench has."""

ENTITIES = tuple(
    """
    abron belka corvan delmi erst fendal gorl hesper ilvan jorn kelsa lorm mirva nesk orlan pellor
    quill rastan selvi torban ulmer vesna wolt xandry yorl zembla ardo brenn cass dovra elk fargo
    """.split()
)
RELATIONS = {
    "colour": tuple("crimson amber violet teal ivory jade scarlet indigo".split()),
    "metal": tuple("iron copper silver tin zinc nickel cobalt brass".split()),
    "beast": tuple("fox otter heron badger lynx raven trout stoat".split()),
}
# Each ends where the attribute is to be said; ``has``, ``the``, ``of`` and ``is`` are fillers.
PHRASINGS = (
    "{entity} has {relation}",
    "the {relation} of {entity} is",
    "of {entity} the {relation} is",
    "{entity} {relation}",
)
FACT_END = ";"

KEYS = tuple(
    """
    anvil barrel candle dagger easel flute goblet hammer inkpot jug kettle ladder mirror needle
    organ piston quilt ribbon saddle teapot urn violin wagon zither
    """.split()
)
VALUES = tuple(
    """
    apple banana cherry damson endive fennel ginger hazel leek lemon mango nutmeg olive peach quince
    radish sorrel thyme walnut barley celery mint plum sage
    """.split()
)
STORE, RECALL = "store", "recall"

BRACKETS = (("[", "]"), ("{", "}"), ("<", ">"))
CLOSE = "close"

# Names are copied in the templates of the task ``ioi`` and in these, which are shorter.
SHORT_TEMPLATES = (
    "Then {A} and {B} came, and {S} told",
    "When {A} and {B} left, {S} walked with",
    "After {A} and {B} met, {S} asked",
    "Later {A} and {B} sat, and {S} showed",
)

LINE_END = "\n"
