"""The tokenizer of the common corpus: what must be one token is, and anything else is bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from mechbench.resources import bundled
from mechbench.tasks.acronyms import acronyms
from mechbench.tasks.induction import induction
from mechbench.tasks.ioi import ioi
from mechbench.tasks.ioi_texts import NAMES
from mechbench.tasks.words import read_words, word_list
from mechbench.training.mixed.tokenizer import mixed_tokenizer
from mechbench.training.mixed.words import ENTITIES, KEYS, VALUES
from mechbench.training.tokenizer import write_tokenizer

FOLDER = bundled("data") / "tokenizers" / "mixed"
TOKENIZER = Tokenizer.from_file(str(FOLDER / "tokenizer.json"))


def tokens(text: str) -> list[str]:
    return [TOKENIZER.decode([i]) for i in TOKENIZER.encode(text).ids]


def test_it_is_small():
    assert TOKENIZER.get_vocab_size() <= 1200


def test_frames_are_split_as_the_tasks_need():
    expected = ["The", " K", "etchup", " L", "ark", " W", "reck", " (", "K", "L"]
    assert tokens("The Ketchup Lark Wreck (KL") == expected
    assert tokens("Then Anna and Mark came, and Mark told") == (
        ["Then", " Anna", " and", " Mark", " came", ",", " and", " Mark", " told"]
    )
    assert tokens(" [ { } close ]\n") == [" [", " {", " }", " close", " ]", "\n"]
    assert tokens(" of elk the metal is tin ;") == (
        [" of", " elk", " the", " metal", " is", " tin", " ;"]
    )


def test_words_are_one_token_and_acronym_words_two():
    for word in (*NAMES, *ENTITIES, *KEYS, *VALUES, *read_words("fillers")):
        assert tokens(f" {word}") == [f" {word}"]
    for word in word_list():
        assert tokens(f" {word}") == [f" {word[0]}", word[1:]]


def test_names_and_first_words_are_whole_only_as_words():
    assert tokens(" Annabel")[0] == " A"
    assert tokens("Thence")[0] == "T"


def test_the_tasks_run_on_it():
    loaded = PreTrainedTokenizerFast.from_pretrained(FOLDER)
    task = acronyms(loaded, n=64)
    assert task.frame.exact and task.source["words_usable"] == task.source["words_given"]
    assert ioi(loaded, n=8).source["names"] == len(NAMES)
    assert induction(loaded, n=2).clean.shape == (2, 21)
    assert loaded.bos_token == loaded.eos_token == "<|endoftext|>" and loaded.bos_token_id == 0


@given(st.text())
def test_any_text_round_trips(text):
    assert TOKENIZER.decode(TOKENIZER.encode(text, add_special_tokens=False).ids) == text


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json"])
def test_making_it_again_writes_the_same_files(tmp_path, name):
    write_tokenizer(mixed_tokenizer(), tmp_path)
    assert (tmp_path / name).read_bytes() == (FOLDER / name).read_bytes()
