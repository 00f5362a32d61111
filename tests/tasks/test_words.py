"""The word list and its split into training and held-out words."""

import string
from collections import Counter

import pytest

from mechbench.tasks.words import held_out_words, read_words, training_words, word_list


def test_words_are_capital_and_lower_case_tail_sorted_without_repeats():
    words = word_list()
    assert list(words) == sorted(set(words))
    for word in words:
        assert word.isascii() and word[0].isupper() and word[1:].islower() and word.isalpha()


def test_every_letter_has_at_least_twelve_words():
    per_letter = Counter(word[0] for word in word_list())
    assert set(per_letter) == set(string.ascii_uppercase)
    assert min(per_letter.values()) >= 12


def test_split_is_a_balanced_partition():
    held_out, training = held_out_words(), training_words()
    assert set(held_out) | set(training) == set(word_list())
    assert not set(held_out) & set(training)
    for letter in string.ascii_uppercase:
        counts = [sum(w[0] == letter for w in part) for part in (held_out, training)]
        assert counts[0] - counts[1] in (0, 1), letter


def test_split_does_not_depend_on_the_process():
    assert held_out_words()[:4] == ("Aching", "Aged", "Aide", "Airing")


def test_gpt2_splits_most_words_into_capital_and_one_remainder(shared_path):
    tokenizers = pytest.importorskip("tokenizers")
    gpt2 = tokenizers.Tokenizer.from_file(str(shared_path("tokenizers/gpt2") / "tokenizer.json"))
    exact = [w for w in word_list() if gpt2.encode(f" {w}").tokens == [f"Ġ{w[0]}", w[1:]]]
    per_letter = Counter(word[0] for word in exact)
    assert len(exact) >= 250
    assert {c for c in string.ascii_uppercase if per_letter[c] < 8} == {"Q", "X"}


def test_fillers_are_distinct_lower_case_words():
    fillers = read_words("fillers")
    assert len(set(fillers)) == len(fillers) >= 100
    assert all(word.islower() and word.isalpha() for word in fillers)
