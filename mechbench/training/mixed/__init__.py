"""The common corpus: several small tasks mixed, one file each; ``corpus.MixedCorpus`` mixes them.

Every architecture is trained on it. A task's file makes its segments; ``segments.py`` says what a
segment is.
"""
