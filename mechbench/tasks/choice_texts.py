"""Names, things and sentences of the generated multiple-choice questions. All are our own."""

NAMES = tuple(
    """
    Adam Alice Anna Ben Brian Carl Carol Claire David Diana Emma Eric Frank George Grace Helen
    Henry Jack James Jane John Julia Kate Kevin Laura Linda Lucy Maria Mark Martin Mary Michael
    Nick Oliver Paul Peter Rachel Robert Rose Sarah Simon Susan Thomas Tom Tony Victor Walter
    William
    """.split()
)
PLACES = tuple("school park garden library station market museum kitchen office church".split())
THINGS = tuple(
    """
    book letter basket ticket ring map lamp pencil coat bottle chair table cup hat ball box car
    bag door flag
    """.split()
)
COLOURS = tuple("red blue green yellow black white brown pink orange purple grey silver".split())
NUMBERS = tuple(str(number) for number in range(10, 100))
