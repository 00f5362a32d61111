"""Tokenizers of the task tests: GPT-2's, and a toy one whose every merge is known."""

import string
from functools import cache

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

BOS = "<|endoftext|>"


def toy_tokenizer(merges=(), bos=BOS, capitals=string.ascii_uppercase):
    """Bytes, `The`, ` (`, spaced ``capitals`` and ``merges``; other text is characters."""
    all_merges = [
        ("T", "h"),
        ("Th", "e"),
        ("Ġ", "("),
        *(("Ġ", c) for c in capitals),
        *(tuple(merge) for merge in merges),
    ]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = dict.fromkeys([BOS, *alphabet, *("".join(merge) for merge in all_merges)])
    vocab = {token: i for i, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=all_merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=bos)


@cache
def _load(folder):
    return AutoTokenizer.from_pretrained(folder)


@pytest.fixture
def gpt2(shared_path):
    """GPT-2's tokenizer."""
    return _load(shared_path("tokenizers/gpt2"))


@pytest.fixture(scope="session")
def toy():
    """The toy tokenizer without further merges."""
    return toy_tokenizer()


@pytest.fixture(scope="session")
def make_toy():
    """Builds toy tokenizers."""
    return toy_tokenizer


@pytest.fixture(scope="session")
def words():
    """Three words of two and of three tail letters for every capital."""
    tails = ("ab", "eb", "ub", "abe", "ebe", "ube")
    return [capital + tail for capital in string.ascii_uppercase for tail in tails]


@pytest.fixture(scope="session")
def english():
    """Words of which GPT-2's tokenizer splits most into a spaced capital and one tail token."""
    text = """
        Ketchup Lark Wreck Aback Aching Aroma Bait Bamboo Bead Bikini Caddy Dagger Dense Egress
        Ewe Fixture Flee Fuzz Ghetto Gland Guts Halt Hostel Ions Irate Jigsaw Jug Kiosk Knee Latch
        Lapse Mound Mummy Nifty Nudge Oasis Ode Pelt Quilt Rattle Riddle Sincerity Sink Sock Tangle
        Thaw Umber Urine Utopia Vase Vocal Waltz Wharf Xerus Xray Yield Yolk Zinc Zither Zoning
    """
    return text.split()
