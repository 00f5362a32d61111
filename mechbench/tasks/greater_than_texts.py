"""Nouns of the greater-than task: things that last for years. All are our own choice."""

NOUNS = tuple(
    """
    alliance ban blockade boom boycott ceremony colony comedy concert craze crisis crusade
    curfew debate drama drought embargo empire era exhibition exile famine fashion feast festival
    feud fever flood friendship frost game harvest hunt lease legend lesson
    mission monopoly movement mystery occupation parade partnership party peace play prayer
    quarrel rebellion regime regency renovation repair republic revolt revolution scandal school
    season series silence storm struggle tax tenure tournament truce union vacancy vogue war winter
    """.split()
)
