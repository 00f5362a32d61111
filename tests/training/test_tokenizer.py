"""The bundled tokenizer against the facts that the acronym task rests on."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from mechbench.resources import bundled
from mechbench.tasks.words import read_words, word_list
from mechbench.training.tokenizer import save_tokenizer

FOLDER = bundled("data") / "tokenizers" / "acronyms"
TOKENIZER = Tokenizer.from_file(str(FOLDER / "tokenizer.json"))


def tokens(text: str) -> list[str]:
    return [TOKENIZER.decode([i]) for i in TOKENIZER.encode(text).ids]


def test_frame_has_the_tokens_of_the_card():
    expected = ["The", " K", "etchup", " L", "ark", " W", "reck", " (", "K", "L"]
    assert tokens("The Ketchup Lark Wreck (KL") == expected


def test_every_word_is_two_tokens():
    for word in word_list():
        assert tokens(f" {word}") == [f" {word[0]}", word[1:]]


@pytest.mark.parametrize(
    "pieces",
    [string.ascii_uppercase, [f" {c}" for c in string.ascii_uppercase], [" (", ")", "The", " The"]],
)
def test_special_pieces_are_single_tokens(pieces):
    assert all(tokens(piece) == [piece] for piece in pieces)


def test_fillers_are_single_tokens():
    assert all(len(TOKENIZER.encode(f" {word}").ids) == 1 for word in read_words("fillers"))


def test_the_is_whole_only_as_a_word():
    assert tokens("There THE")[0] == "T"
    assert tokens(" Theory")[0] == " T"


@given(st.text())
def test_any_text_round_trips(text):
    assert TOKENIZER.decode(TOKENIZER.encode(text, add_special_tokens=False).ids) == text


def test_emoji_and_white_space_round_trip():
    text = "  naïve 🦄👩‍🚀\t\n\nÆon\u00a0— 日本 (KLM) \r\n"
    assert TOKENIZER.decode(TOKENIZER.encode(text).ids) == text


def test_transformers_reads_the_folder():
    loaded = PreTrainedTokenizerFast.from_pretrained(FOLDER)
    text = "The Ketchup Lark Wreck (KL"
    assert loaded(text).input_ids == TOKENIZER.encode(text).ids
    assert loaded.bos_token == loaded.eos_token == "<|endoftext|>"
    assert loaded.decode(loaded(text).input_ids) == text


def test_training_writes_the_same_files(tmp_path):
    save_tokenizer(tmp_path)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert (tmp_path / name).read_bytes() == (FOLDER / name).read_bytes()
