"""The words that results about multiple-choice questions share."""

SET, LABELS, MEASURE, OPTION = "set", "labels", "measure", "option"
ARGMAX, ANY_TOKEN, OFFERED = "argmax", "any token", "offered labels"
ARGMAXES = (ANY_TOKEN, OFFERED)
"""The answer is the likeliest token of the vocabulary, or of the labels that the prompt offers."""

ITEMS, FAILING, GOLD_FIRST, NOT_FIRST, ALL = "items", "failing", "gold first", "gold later", "all"
GOLD, ANSWERED, OTHER_TOKEN = "gold", "answered", "other token"
ANCHORED, ACCURACY = "anchored", "accuracy"
"""Share of prompts answered with the first label though it is wrong; share answered correctly."""

READING, LENS, DIRECT = "reading", "lens", "direct"
READINGS = (LENS, DIRECT)
"""Read as if a part were the whole final stream, or as its share of the run's own logits."""

EDIT, NO_EDIT = "edit", "no edit"
RIGHT_LABEL, NOTHING_ADDED = "right label", "λ2 = 0"
OTHERS_MEAN, RANDOM_NEURON = "mean of later", "random neurons"
ANSWERED_FIRST = "answered first label"


def always(label: str) -> str:
    """The name of the edit that adds one label for all prompts."""
    return f"always {label}"
