"""Batches: which tokens they hold and which of them are trained."""

import numpy as np
import pytest
from tokenizers import Tokenizer

from mechbench.errors import TokenizerError
from mechbench.resources import bundled
from mechbench.training.choice.corpus import encoded
from mechbench.training.choice.rows import Row
from mechbench.training.corpora import corpus_of
from mechbench.training.tokenizer import BOS


@pytest.fixture
def corpus(tiny, tokenizer):
    return corpus_of(tiny, tokenizer)


def test_batches_hold_the_rows_with_their_answers_trained(corpus, tokenizer):
    expected = sorted(
        (f"{BOS}{row.prompt} {row.answer}", f" {row.answer}") for row in corpus.rows(7)
    )
    found = []
    bos = tokenizer.token_to_id(BOS)
    for batch in corpus.batches(7):
        for ids, scored in zip(batch.ids, batch.scored, strict=True):
            (last,) = np.flatnonzero(scored).tolist()
            assert (ids[last + 1 :] == bos).all() and ids[0] == bos and not scored[0]
            text = tokenizer.decode(ids[: last + 1].tolist(), skip_special_tokens=False)
            found.append((text, tokenizer.decode([int(ids[last])])))
    assert sorted(found) == expected


def test_rows_of_like_length_are_together(corpus):
    short, long = corpus.batches(3)
    assert len(short.ids) == len(long.ids) == 3
    assert short.ids.shape[1] <= long.ids.shape[1] <= 64


def test_a_step_depends_on_its_number_and_the_seed_alone(corpus, tiny, tokenizer):
    again = corpus_of(tiny, tokenizer)
    other = corpus_of(tiny.model_copy(update={"seed": 1}), tokenizer)
    assert again.rows(4) == corpus.rows(4) != corpus.rows(5)
    assert again.data_hash(3) == corpus.data_hash(3) != other.data_hash(3)


def test_a_tokenizer_without_the_words_is_refused():
    path = bundled("data") / "tokenizers" / "mixed" / "tokenizer.json"
    with pytest.raises(TokenizerError, match="of '41'. Write 'tokenizer: mcq'"):
        encoded(Tokenizer.from_file(str(path)), [Row("Which number is the largest?", "41")])
