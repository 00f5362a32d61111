"""The tokenizer of the two-hop models: words of a world are one token, other text is bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from mechbench.resources import bundled
from mechbench.tasks.two_hop_world import World
from mechbench.training.tokenizer import write_tokenizer
from mechbench.training.two_hop.tokenizer import two_hop_tokenizer

FOLDER = bundled("data") / "tokenizers" / "twohop"
TOKENIZER = Tokenizer.from_file(str(FOLDER / "tokenizer.json"))


def tokens(text: str) -> list[str]:
    return [TOKENIZER.decode([i]) for i in TOKENIZER.encode(text).ids]


def test_words_are_one_token_with_their_space():
    world = World(150, 12)
    for word in (*world.entities, *world.relations, "the", "of", "is", ":", ","):
        assert tokens(f", {word} ,") == [" ,", f" {word}", " ,"]
    assert TOKENIZER.get_vocab_size() == 1 + 150 + 12 + 5 + 256


def test_the_first_word_is_the_same_token_without_its_space():
    for text in ("mother teacher Ana is", "the boss Ana", "Ana : Ana , Bela :"):
        expected = [f" {word}" for word in text.split()]
        assert tokens(text) == tokens(f" {text}") == expected
    assert TOKENIZER.encode("<|endoftext|>boss").ids == TOKENIZER.encode("<|endoftext|> boss").ids


def test_words_are_whole_only_as_words():
    assert len(tokens(" Anabel")) == len(" Anabel")
    assert tokens("(Ana") == [" ", "(", "A", "n", "a"]


@given(st.text())
def test_any_text_round_trips_but_for_its_first_space(text):
    text = text.replace("<|endoftext|>", "")
    expected = text if not text or text.startswith(" ") else f" {text}"
    ids = TOKENIZER.encode(text, add_special_tokens=False).ids
    assert TOKENIZER.decode(ids) == expected


def test_it_loads_as_the_others_do():
    loaded = PreTrainedTokenizerFast.from_pretrained(FOLDER)
    assert loaded.bos_token == loaded.eos_token == "<|endoftext|>" and loaded.bos_token_id == 0
    offsets = loaded("mother teacher Ana is", return_offsets_mapping=True)["offset_mapping"]
    assert offsets == [(0, 6), (6, 14), (14, 18), (18, 21)]


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json"])
def test_making_it_again_writes_the_same_files(tmp_path, name):
    write_tokenizer(two_hop_tokenizer(), tmp_path)
    assert (tmp_path / name).read_bytes() == (FOLDER / name).read_bytes()
