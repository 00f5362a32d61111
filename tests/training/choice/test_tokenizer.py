"""The tokenizer of the multiple-choice models: every word of the corpus is one token."""

import re
import string

import numpy as np
import pytest
from transformers import PreTrainedTokenizerFast

from mechbench.resources import bundled
from mechbench.tasks.choice_families import FAMILIES
from mechbench.tasks.choice_texts import NAMES
from mechbench.tasks.ioi import ioi
from mechbench.tasks.multiple_choice import multiple_choice
from mechbench.training.choice.rows import Mixture, training_row
from mechbench.training.choice.tokenizer import choice_tokenizer
from mechbench.training.tokenizer import write_tokenizer

FOLDER = bundled("data") / "tokenizers" / "mcq"


def test_it_is_written_again_byte_for_byte(tmp_path):
    write_tokenizer(choice_tokenizer(), tmp_path)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert (tmp_path / name).read_bytes() == (FOLDER / name).read_bytes()


def test_it_is_as_small_as_its_readme_says(tokenizer):
    (said,) = re.findall(r"(\d+) tokens", (FOLDER / "README.md").read_text())
    assert int(said) == tokenizer.get_vocab_size() <= 600


def test_every_word_of_the_corpus_is_one_token(tokenizer):
    rng = np.random.default_rng(0)
    mixture = Mixture(0.5, 0.2, 0.9, ("A", "P", "1"), dict.fromkeys(FAMILIES, 1.0))
    for _ in range(600):
        row = training_row(rng, mixture)
        for text in (row.prompt, f" {row.answer}"):
            words = re.findall(r" ?\w+|[^\w\s]", text)
            assert tokenizer.encode(text).ids == [tokenizer.encode(w).ids[0] for w in words]
            assert all(len(tokenizer.encode(word).ids) == 1 for word in words)


@pytest.mark.parametrize("text", ["Zürich — 1234 €\n", "Maryland", "a b  c", "<x>"])
def test_any_other_text_is_read_and_comes_back(tokenizer, text):
    assert tokenizer.decode(tokenizer.encode(text).ids) == text


def test_the_tasks_run_on_it():
    loaded = PreTrainedTokenizerFast.from_pretrained(FOLDER)
    for first in ("A", "P", "1", *string.ascii_uppercase[:22:7]):
        assert len(multiple_choice(loaded, 8, labels=first)) == 8
    assert ioi(loaded, 8, names=NAMES).source["names"] == len(NAMES)
