"""The training text, read back from its decoded form by an independent parser."""

import re
from collections import Counter

import numpy as np
import pytest
from tokenizers import Tokenizer

from mechbench.resources import bundled
from mechbench.tasks.words import held_out_words, read_words
from mechbench.training.corpus import AcronymCorpus

TOKENIZER = Tokenizer.from_file(str(bundled("data") / "tokenizers" / "acronyms" / "tokenizer.json"))
STRING = re.compile(r"The((?: [A-Z][a-z]+(?: [a-z]+)*)+) \(([A-Z]+)\)")


def corpus(seed: int = 0, **options) -> AcronymCorpus:
    return AcronymCorpus(
        TOKENIZER, **{"seed": seed, "sequences": 64, "sequence_length": 48} | options
    )


@pytest.fixture(scope="module")
def texts() -> list[str]:
    batches = [corpus().batch(step) for step in range(10)]
    return [TOKENIZER.decode(row.tolist()) for batch in batches for row in batch]


def test_rows_begin_with_bos_and_have_one_length():
    batch = corpus().batch(0)
    assert batch.shape == (64, 48)
    assert (batch[:, 0] == 0).all() and (batch[:, 1:] != 0).all()


def test_batches_depend_on_seed_and_step_alone():
    one = corpus()
    one.batch(3)
    assert np.array_equal(one.batch(7), corpus().batch(7))
    assert not np.array_equal(one.batch(7), one.batch(8))
    assert not np.array_equal(one.batch(7), corpus(seed=1).batch(7))
    assert one.data_hash(2) == corpus().data_hash(2) != corpus(seed=1).data_hash(2)


def test_text_is_tokenised_as_the_tokenizer_would():
    for row in corpus().batch(0):
        assert TOKENIZER.encode(TOKENIZER.decode(row[1:].tolist())).ids == row[1:].tolist()


def test_a_string_at_the_beginning_is_the_exact_frame():
    rows = corpus(acronym_share=1.0, sequences=512).batch(0)
    starts = [TOKENIZER.decode(row[1:3].tolist()) for row in rows]
    assert any(re.fullmatch("The [A-Z]", start) for start in starts)
    assert not any(start.startswith(" The") for start in starts)


def test_closed_strings_spell_their_words_initials(texts):
    matches = [match for text in texts for match in STRING.finditer(text)]
    assert len(matches) > 300
    for match in matches:
        words = [word for word in match[1].split() if word[0].isupper()]
        assert 2 <= len(words) <= 5
        assert "".join(word[0] for word in words) == match[2]
    assert {len(match[2]) for match in matches} == {2, 3, 4, 5}


def test_no_held_out_word_occurs(texts):
    seen = {word for text in texts for word in re.findall(r"[A-Z][a-z]+", text)}
    assert len(seen) > 1000
    assert not seen & set(held_out_words())
    tails = {word[1:] for word in seen}
    assert {word[1:] for word in held_out_words()} <= tails


def test_lead_and_extras_vary(texts):
    fillers = set(read_words("fillers"))
    extras = Counter(
        len(tail.split()) - 1
        for text in texts
        for string in STRING.finditer(text)
        for tail in re.findall(r"[A-Z]([a-z]+(?: [a-z]+)*)", string[1])
    )
    assert set(extras) == {0, 1, 2, 3}
    leads = [
        TOKENIZER.decode(row.tolist()).split("The ")[0].split()
        for row in corpus(acronym_share=1.0, sequences=512).batch(0)
    ]
    assert {len(lead) for lead in leads} == set(range(21))
    assert {word for lead in leads for word in lead} <= fillers


def test_letters_are_uniform_and_repeat(texts):
    acronyms = [match[2] for text in texts for match in STRING.finditer(text)]
    counts = Counter("".join(acronyms))
    share = np.array([counts[c] for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"]) / sum(counts.values())
    assert share.min() > 0.5 / 26 and share.max() < 1.6 / 26
    assert any(len(set(acronym)) < len(acronym) for acronym in acronyms)


def test_shares_of_segment_kinds():
    only_acronyms = TOKENIZER.decode_batch(corpus(acronym_share=1.0).batch(0).tolist())
    assert all("The" in text for text in only_acronyms)
    no_acronyms = TOKENIZER.decode_batch(corpus(acronym_share=0.0).batch(0).tolist())
    assert not any("The" in text or "(" in text for text in no_acronyms)
    repeated = [re.search(r"((?: \w+){3,10})\1", text) for text in no_acronyms]
    assert sum(match is not None for match in repeated) > 32
