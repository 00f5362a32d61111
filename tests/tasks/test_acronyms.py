"""The acronym generator: frames, splitting, balance, seeds, bad input."""

import re
from collections import Counter
from string import ascii_uppercase

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mechbench.errors import TaskError, TokenizerError
from mechbench.tasks.acronyms import acronyms


def check_prompts(tokenizer, task):
    """Decoded text, words and answers agree, found with string operations alone."""
    pairs = task.pairs("all")
    for i, ids in enumerate(task.clean.tolist()):
        assert ids[0] == tokenizer.bos_token_id
        text = tokenizer.decode(ids[1:])
        match = re.fullmatch(r"The((?: [A-Z][a-z]+)+) \(([A-Z]*)", text)
        assert match, text
        words, given_letters = match[1].split(), match[2]
        acronym = "".join(word[0] for word in words)
        assert task.words[i] == tuple(words)
        assert task.acronyms[i] == acronym
        assert given_letters == acronym[:-1]
        positions = pairs.answer_positions[i].tolist()
        for j, (position, answer) in enumerate(zip(positions, pairs.answers[i], strict=True)):
            assert tokenizer.decode([int(answer)]) == acronym[j]
            assert tokenizer.decode(ids[1 : position + 1]) == text[: text.index("(") + 1 + j]
            assert tokenizer.decode([ids[task.frame.capitals[j]]]) == f" {acronym[j]}"
            assert tokenizer.decode([ids[p] for p in task.frame.words[j]]) == f" {words[j]}"


def test_gpt2_example_of_the_card(gpt2):
    task = acronyms(gpt2, 40, words=["Ketchup", "Lark", "Wreck"])
    text = [gpt2.decode(row) for row in task.clean.tolist()]
    i = text.index("<|endoftext|>The Ketchup Lark Wreck (KL")
    assert task.clean[i].tolist() == [
        50256, 464, 509, 47132, 406, 668, 370, 11402, 357, 42, 43,
    ]  # fmt: skip
    assert task.answers[i].tolist() == gpt2("KLW")["input_ids"] == [42, 43, 54]
    labels = "BOS The C1 T1 C2 T2 C3 T3 ( A1 A2"
    assert task.frame.labels == tuple(labels.split())
    assert task.frame.exact
    assert task.pairs("all").answer_positions[0].tolist() == [8, 9, 10]
    assert "exact 11-token" in task.source["frame"]


def test_gpt2_prompts_are_what_their_text_says(gpt2, english):
    task = acronyms(gpt2, 128, words=english, seed=3)
    check_prompts(gpt2, task)
    assert task.clean.shape == (128, 11)
    assert task.capitals.tolist() == list(range(32, 58))
    assert gpt2.convert_ids_to_tokens(task.spaced_capitals.tolist()) == [
        f"Ġ{c}" for c in ascii_uppercase
    ]
    for ids, acronym in zip(task.clean.tolist(), task.acronyms, strict=True):
        whole = gpt2(gpt2.decode(ids[1:]) + acronym[-1])["input_ids"]
        assert whole[:-1] == ids[1:] and gpt2.decode(whole[-1]) == acronym[-1]


@settings(max_examples=8, deadline=None)
@given(n=st.integers(1, 80), seed=st.integers(0, 2**31), letters=st.integers(1, 4))
def test_any_size_fits_balances_and_repeats(toy, words, n, seed, letters):
    few = [word for word in words if word[0] in "ABCDEKZ"]
    task = acronyms(toy, n, seed=seed, words=few, letters=letters)
    check_prompts(toy, task)
    for slot in zip(*task.acronyms, strict=True):
        counts = Counter(dict.fromkeys("ABCDEKZ", 0))
        counts.update(slot)
        assert max(counts.values()) - min(counts.values()) <= 1
    again = acronyms(toy, n, seed=seed, words=few, letters=letters)
    assert again.clean.equal(task.clean) and again.source == task.source


def test_longer_tails_give_one_longer_frame(toy, words):
    task = acronyms(toy, 30, words=[*words, "Abcde"])
    labels = "BOS The C1 T1 T1b C2 T2 T2b C3 T3 T3b ( A1 A2"
    assert task.frame.labels == tuple(labels.split())
    assert not task.frame.exact
    assert "longest common frame, 14 tokens" == task.source["frame"]
    assert task.frame.tails == (4, 7, 10)
    check_prompts(toy, task)


def test_another_seed_gives_other_prompts(toy, words):
    assert not acronyms(toy, 20, words=words).clean.equal(
        acronyms(toy, 20, words=words, seed=1).clean
    )


def test_merged_acronyms_are_never_used(make_toy, words):
    tokenizer = make_toy([("U", "S"), ("S", "A"), ("US", "B")])
    few = [word for word in words if word[0] in "USAB"]
    task = acronyms(tokenizer, 64, words=few)
    check_prompts(tokenizer, task)
    assert not any("US" in acronym or "SA" in acronym for acronym in task.acronyms)


def test_repeated_letters_are_counted_and_have_other_words(toy, words):
    few = [word for word in words if word[0] in "AB"]
    task = acronyms(toy, 16, words=few)
    assert task.source["repeated_letters"] == 16
    assert all(len(set(row)) == 3 for row in task.words)
    assert task.source["distinct_acronyms"] == len(set(task.acronyms)) == 8


@pytest.mark.parametrize("wrong", [{"n": 0}, {"n": -3}, {"letters": 0}])
def test_empty_task(toy, words, wrong):
    with pytest.raises(TaskError, match="at least 1"):
        acronyms(toy, **({"n": 4, "words": words} | wrong))


def test_words_that_the_tokenizer_does_not_split(gpt2):
    with pytest.raises(TokenizerError, match=r"' House'"):
        acronyms(gpt2, 4, words=["House", "Green"])
    with pytest.raises(TaskError, match=r"capital letter A to Z, got \['house'\]"):
        acronyms(gpt2, 4, words=["house", "Ketchup"])


def test_every_acronym_merges(make_toy, words):
    merges = [(a, b) for a in "US" for b in "US"]
    few = [word for word in words if word[0] in "US"]
    with pytest.raises(TokenizerError, match=r"All 8 acronyms.*'SSS': \['SS', 'S'\]"):
        acronyms(make_toy(merges), 4, words=few)


def test_no_tokenizer_no_bos_and_split_capitals(make_toy, words):
    with pytest.raises(TokenizerError, match="needs a tokenizer"):
        acronyms(None, 4, words=words)
    with pytest.raises(TokenizerError, match="no BOS token"):
        acronyms(make_toy(bos=None), 4, words=words)
    with pytest.raises(TokenizerError, match=r"' K': \[' ', 'K'\]"):
        acronyms(make_toy(capitals=ascii_uppercase.replace("K", "")), 4, words=words)


def test_default_words_are_the_held_out_ones(gpt2):
    shipped = pytest.importorskip("mechbench.tasks.words")
    task = acronyms(gpt2, 60)
    assert {word for row in task.words for word in row} <= set(shipped.held_out_words())
    assert task.frame.exact
    check_prompts(gpt2, task)
