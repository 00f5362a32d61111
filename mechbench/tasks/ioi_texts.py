"""Names, templates and fillers of the IOI task. All are our own."""

NAMES = tuple(
    """
    Aaron Adam Alan Alex Alice Amanda Amy Andrew Angela Anna Arthur Ben Brian Carl Carol Charles
    Chris Claire Daniel David Diana Edward Elizabeth Emily Emma Eric Frank George Grace Hannah
    Harry Helen Henry Ian Jack Jacob James Jane Jason Jennifer Jessica Joe John Joseph Julia Karen
    Kate Kevin Kim Laura Leon Linda Lisa Louis Lucy Luke Maria Mark Martha Martin Mary Matthew
    Michael Michelle Nathan Nick Nicole Oliver Oscar Patrick Paul Peter Rachel Richard Robert Rose
    Ruth Ryan Sam Sarah Scott Simon Sophie Stephen Steven Susan Thomas Tim Tom Tony Victor Victoria
    Walter William
    """.split()
)

TEMPLATES = (
    "Then {A} and {B} sat in the {place}, and {S} passed a {thing} to",
    "When {A} and {B} came back from the {place}, {S} handed a {thing} to",
    "After {A} and {B} had left the {place}, {S} sold the old {thing} to",
    "While {A} and {B} tidied the whole {place}, {S} threw a {thing} to",
    "Once {A} and {B} had found the right {place}, {S} showed a {thing} to",
    "As {A} and {B} walked slowly to the {place}, {S} lent a {thing} to",
    "Yesterday {A} and {B} met at the {place}, where {S} offered a {thing} to",
    "Later {A} and {B} quickly toured the {place}, and {S} sent a {thing} to",
)

PLACES = tuple("school park garden library station market museum kitchen office church".split())
THINGS = tuple("book letter drink key basket ticket ring map lamp pencil coat".split())
