"""Argument names and words of the docstring task. All are our own choice."""

NAMES = tuple(
    """
    size name page file data text list width height color index item value table group point
    target source query cache frame image label layer limit mask mode model node offset option
    order owner parent path pattern port prefix range rate record region scale score seed shape
    speed start state step style suffix symbol task token topic total unit user version weight
    window year zone
    """.split()
)

WORDS = tuple(
    """
    apple bread bridge cloud coffee corn desert dinner dream farm forest fruit glass gold grass
    green horse house island kitchen lake lemon milk moon mountain music night ocean orange paper
    river road salt sand shoe silver smoke snow soup star stone storm sugar summer sun table tea
    tree water wheat wind winter wood wool
    """.split()
)
