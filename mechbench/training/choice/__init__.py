"""Multiple-choice questions and text about the same things: the corpus of the `mcq` models.

`rows.py` makes a step's rows, `corpus.py` batches them, `evaluation.py` scores held-out questions.
"""
