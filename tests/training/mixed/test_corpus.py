"""The common corpus, read back by the slow parser."""

import re

import numpy as np
import pytest
from transformers import PreTrainedTokenizerFast

from mechbench.errors import TokenizerError
from mechbench.resources import bundled
from mechbench.tasks.ioi import ioi
from mechbench.tasks.ioi_texts import NAMES
from mechbench.tasks.words import held_out_words
from mechbench.training.mixed.corpus import SHARES, TASKS, MixedCorpus
from mechbench.training.mixed.facts import fact_table, withheld_phrasings
from mechbench.training.mixed.names import name_pairs
from mechbench.training.mixed.words import ENTITIES, KEYS, RELATIONS, VALUES
from mechbench.training.recipe import load_recipe
from tests.training.mixed.slow_parser import ANSWERS, lines, n_answers, row_pieces

STEPS = 12


@pytest.fixture(scope="module")
def make(tokenizer):
    def corpus(seed: int = 0, **options) -> MixedCorpus:
        sizes = {"sequences": 24, "sequence_length": 128}
        return MixedCorpus(tokenizer, seed=seed, **sizes | options)

    return corpus


@pytest.fixture(scope="module")
def text(make, tokenizer):
    """The lines of some batches: pieces, labels, and whether each is whole."""
    found = []
    for step in range(STEPS):
        labelled = make(shares=dict.fromkeys(TASKS, 1 / 6)).labelled(step)
        for ids, task in zip(labelled.ids.tolist(), labelled.task.tolist(), strict=True):
            found += lines(row_pieces(tokenizer, ids), task)
    return found


def held_out_lines(corpus: MixedCorpus, tokenizer, task: str, n: int = 200):
    prompts = corpus.prompts(task, n, seed=3)
    for ids, labels in zip(prompts.ids.tolist(), prompts.task.tolist(), strict=True):
        yield lines(row_pieces(tokenizer, ids), labels)


def test_every_answer_follows_from_the_text_before_it(text):
    checked = dict.fromkeys(TASKS, 0)
    for pieces, labels, _ in text:
        for i, label in enumerate(labels):
            if label >= 0:
                assert pieces[i] == ANSWERS[TASKS[label]](pieces[:i]), "".join(pieces[: i + 1])
                checked[TASKS[label]] += 1
    assert min(checked.values()) > 150, checked


def test_every_whole_line_is_of_one_task_and_no_answer_is_left_out(text):
    whole = [(pieces, labels) for pieces, labels, ended in text if ended]
    assert len(whole) > 1000
    for pieces, labels in whole:
        (kind,) = {label for label in labels if label >= 0}
        assert sum(label >= 0 for label in labels) == n_answers(TASKS[kind], pieces), pieces


def test_prompts_hold_one_segment_of_their_task_between_filler_text(make, tokenizer):
    for task in TASKS:
        starts = set()
        for found in held_out_lines(make(), tokenizer, task):
            scored = [(p, labels) for p, labels, _ in found if max(labels, default=-1) >= 0]
            assert len(scored) == 1
            pieces, labels = scored[0]
            assert {*labels} - {-1} == {TASKS.index(task)}
            for i, label in enumerate(labels):
                if label >= 0:
                    assert pieces[i] == ANSWERS[task](pieces[:i])
            starts.add(len(found[0][0]) if len(found) > 1 else 0)
            fillers = [p for p, other, _ in found if max(other, default=-1) < 0]
            assert all(re.fullmatch(r"( [a-z]+)*", "".join(p)) for p in fillers)
        assert len(starts) > 10  # somewhere, not always at the beginning


def test_batches_depend_on_seed_and_step_alone(make):
    one = make()
    one.batch(3)
    assert np.array_equal(one.batch(7), make().batch(7))
    assert not np.array_equal(one.batch(7), one.batch(8))
    assert not np.array_equal(one.batch(7), make(seed=1).batch(7))
    assert one.data_hash(2) == make().data_hash(2) != make(seed=1).data_hash(2)


def test_prompts_depend_on_their_own_seed_alone(make):
    one, other_training = make().prompts("recall", 8, 0), make(seed=5).prompts("recall", 8, 0)
    assert np.array_equal(one.ids, other_training.ids)
    assert not np.array_equal(one.ids, make().prompts("recall", 8, 1).ids)


def test_rows_begin_with_bos_and_have_one_length(make):
    batch = make().batch(0)
    assert batch.shape == (24, 128)
    assert (batch[:, 0] == 0).all() and (batch[:, 1:] != 0).all()


def test_text_is_tokenised_as_the_tokenizer_would(text, tokenizer):
    kinds = [(max(labels, default=-1), pieces) for pieces, labels, _ in text]
    compared = 0
    for kind, pieces in kinds:
        if kind != TASKS.index("induction") and kind >= 0:  # repeats of any tokens are no text
            assert row_pieces(tokenizer, tokenizer.encode("".join(pieces)).ids) == pieces
            compared += 1
    assert compared > 800


def test_no_held_out_word_pair_or_phrasing_is_trained(text, make, tokenizer):
    words, pairs, facts = material(lines_of=text)
    assert len(words) > 300 and len(pairs) > 200 and len(facts) > 200
    held_words, held_pairs, held_facts = set(), set(), set()
    for task, into in (("acronyms", 0), ("names", 1), ("facts", 2)):
        found = [line for row in held_out_lines(make(), tokenizer, task) for line in row]
        (held_words, held_pairs, held_facts)[into].update(material(lines_of=found)[into])
    assert held_words <= set(held_out_words()) and not words & set(held_out_words())
    assert len(held_pairs) > 100 and not pairs & held_pairs
    assert len(held_facts) > 60 and not facts & held_facts


def material(*, lines_of):
    """The acronym words, unordered pairs of names, and facts with their phrasing, of some lines."""
    words, pairs, facts = set(), set(), set()
    for pieces, labels, _ in lines_of:
        kind = max(labels, default=-1)
        line = "".join(pieces)
        if kind == TASKS.index("acronyms"):
            words |= set(re.findall(r" ([A-Z][a-z]+)", line)) - {"The"}
        elif kind == TASKS.index("names"):
            pairs.add(frozenset(re.findall(r" ([A-Z][a-z]+)", line)))
        elif kind == TASKS.index("facts"):
            facts |= {" ".join(fact.split()[:-1]) for fact in line.split(" ;")[:-1]}
    return words, pairs, facts


def test_splits_have_the_sizes_that_are_documented():
    trained, held_out = name_pairs(False), name_pairs(True)
    assert len(trained) + len(held_out) == 94 * 93
    assert 0.1 < len(held_out) / (94 * 93) < 0.15
    as_pairs = {tuple(pair) for pair in held_out.tolist()}
    assert as_pairs == {(b, a) for a, b in as_pairs}
    assert fact_table().shape == withheld_phrasings().shape == (len(ENTITIES), len(RELATIONS))
    assert {*withheld_phrasings().flat} == {0, 1, 2, 3}


@pytest.mark.parametrize("task", TASKS)
def test_a_share_of_one_is_that_task_alone(make, task):
    labelled = make(shares={task: 1.0}).labelled(0)
    assert {*np.unique(labelled.task)} == {-1, TASKS.index(task)}


def test_shares_are_of_segments(make, tokenizer):
    """Brackets and names tell themselves apart by their first token, whole or cut."""
    labelled = make(shares={"brackets": 0.75, "names": 0.25}, sequences=200).labelled(0)
    starts = []
    for ids, task in zip(labelled.ids.tolist(), labelled.task.tolist(), strict=True):
        starts += [line[0][0] for line in lines(row_pieces(tokenizer, ids), task) if line[0]]
    share = np.mean([start in (" [", " {", " <") for start in starts])
    assert len(starts) > 1500
    assert abs(share - 0.75) < 4 * (0.75 * 0.25 / len(starts)) ** 0.5


def test_recall_reaches_across_the_sequence(make, tokenizer):
    distances = [
        len(pieces[:i]) - pieces.index(pieces[i - 1])
        for row in held_out_lines(make(), tokenizer, "recall", 100)
        for pieces, labels, _ in row
        for i, label in enumerate(labels)
        if label >= 0
    ]
    assert min(distances) < 12 and max(distances) > 110


def test_default_shares_are_those_of_the_recipe():
    assert load_recipe("mixed-gpt2").corpus.shares == dict(SHARES)
    assert sum(SHARES.values()) == pytest.approx(1)


def test_the_ioi_tasks_prompts_are_made_of_trained_tokens(make):
    folder = bundled("data") / "tokenizers" / "mixed"
    prompts = ioi(PreTrainedTokenizerFast.from_pretrained(folder), n=64).clean
    corpus = make(shares={"names": 1.0}, sequences=200)
    assert {*np.unique(prompts.numpy())} <= {*np.unique(corpus.batch(0))}


def test_a_tokenizer_without_the_words_is_refused():
    from tokenizers import Tokenizer

    folder = bundled("data") / "tokenizers" / "acronyms"
    other = Tokenizer.from_file(str(folder / "tokenizer.json"))
    with pytest.raises(TokenizerError, match="tokenizer: mixed"):
        MixedCorpus(other, seed=0, sequences=2, sequence_length=64)


def test_half_of_the_repeats_are_of_words_that_are_copied_elsewhere(make, tokenizer):
    copied = {f" {word}" for word in (*NAMES, *KEYS, *VALUES)}

    def share(found) -> tuple[float, int]:
        starts = [line[0][:3] for line in found if max(line[1], default=-1) == 1]
        return sum(set(start) <= copied for start in starts) / len(starts), len(starts)

    labelled = make(shares={"induction": 1.0}, sequences=60).labelled(0)
    rows = zip(labelled.ids.tolist(), labelled.task.tolist(), strict=True)
    trained, n = share(
        [line for ids, task in rows for line in lines(row_pieces(tokenizer, ids), task)]
    )
    assert n > 250 and abs(trained - 0.5) < 4 * 0.5 / n**0.5
    held_out = held_out_lines(make(), tokenizer, "induction")
    assert share([line for row in held_out for line in row])[0] < 0.05
