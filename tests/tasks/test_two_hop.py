"""Two-hop queries: prompts, positions, partners, and what the refusals say."""

import pytest
import torch

from mechbench.errors import TaskError, TokenizerError
from mechbench.tasks.two_hop_build import two_hop_task
from mechbench.tasks.two_hop_texts import LABELS, WORLD, Entity, Templates, TwoHopQuery, said

LENNON, ONO = Entity("John Lennon", ("Lennon", "J")), Entity("Yoko Ono", ("Ono",))
QUERIES = [
    TwoHopQuery(Entity("Imagine"), LENNON, ONO, "performer", "spouse", "a"),
    TwoHopQuery(
        Entity("Así habló Zaratustra"),
        Entity("Friedrich Nietzsche"),
        Entity("Röcken"),
        "the author of {}",
        "{} was born in",
        "b",
    ),
    TwoHopQuery(
        Entity("What is it is"),
        Entity("Some Studio"),
        Entity("London"),
        "the company that produced {}",
        "the headquarters location of {}",
        "a",
    ),
    TwoHopQuery(Entity("Thriller"), Entity("Michael Jackson"), Entity("Gary"), "performer", "home"),
]
WORDS = {  # what must stand before and at each position: the end of the text up to it
    0: {"t1": "the performer of Imagine", "e1": "Imagine", "r1": "performer", "r2": "the spouse"},
    1: {
        "t1": "the author of Así habló Zaratustra",
        "e1": "Zaratustra",
        "r1": "the author",
        "r2": "Zaratustra was born in",
    },
    2: {
        "t1": "the company that produced What is it is",
        "e1": "of the company that produced What is it is",
        "r1": "the company that produced",
        "r2": "the headquarters location",
    },
}


@pytest.fixture
def task(gpt2):
    return two_hop_task(gpt2, QUERIES)


def test_five_prompts(task):
    assert {label: task.texts(label)[0] for label in LABELS} == {
        "first_hop": "the performer of Imagine is",
        "second_hop": "the spouse of John Lennon is",
        "composition": "the spouse of the performer of Imagine is",
        "entity_shortcut": "the spouse of Imagine is",
        "relation_shortcut": "the spouse of the performer",
    }
    assert [task.texts(label)[1] for label in LABELS] == [
        "the author of Así habló Zaratustra is",
        "Friedrich Nietzsche was born in",
        "the author of Así habló Zaratustra was born in",
        "Así habló Zaratustra was born in",
        "the author was born in",
    ]
    assert task.text_targets("first_hop")[0] is LENNON
    assert all(task.text_targets(label)[0] is ONO for label in LABELS[1:])


def test_tokens_are_the_tokenizers(task, gpt2):
    for label in LABELS:
        for text, ids in zip(task.texts(label), task.tokens_of(label), strict=True):
            assert ids.tolist() == [gpt2.bos_token_id, *gpt2(text)["input_ids"]]
    for row, ids, length in zip(
        task.clean, task.tokens_of("composition"), task.lengths, strict=True
    ):
        assert row[:length].equal(ids) and (row[length:] == gpt2.bos_token_id).all()


def test_positions_end_the_words_they_name(task, gpt2):
    for i, words in WORDS.items():
        text = task.texts()[i]
        for span, expected in {**words, "t2": text}.items():
            upto = gpt2.decode(task.clean[i, 1 : int(task.spans[span][i]) + 1])
            assert text.startswith(upto) and upto.endswith(expected), (span, upto)
    assert task.t2.equal(task.lengths - 1)


def test_answers_are_first_tokens_of_names(task, gpt2):
    yoko, ono, john, lennon = (
        gpt2(f" {w}")["input_ids"][0] for w in "Yoko Ono John Lennon".split()
    )
    assert task.answer_ids[0] == (yoko, ono)
    assert task.bridge_ids[0] == (john, lennon)  # "J" is too short a name
    assert task.answers[0].tolist() == [yoko]


def test_alias_rule():
    assert said(ONO, "…it is yoko ono, of course") and said(ONO, "Ono.")
    assert not said(ONO, "Yoko")
    assert not said(LENNON, "J") and said(Entity("J"), "j")


def test_partner_is_another_query_laid_out_alike(gpt2):
    alike = [
        TwoHopQuery(Entity(a), Entity(b), Entity(c), "performer", "spouse")
        for a, b, c in (
            ("Rome", "Paul", "Mary"),
            ("Oslo", "John", "Anna"),
            ("Bern", "Mark", "Mary"),
        )
    ]
    task = two_hop_task(gpt2, [*alike, QUERIES[2]])
    assert task.partners.tolist() == [1, 2, 1, 0]  # Bern has Rome's answer
    pairs = task.pairs()
    assert pairs.corrupt.equal(task.clean[task.partners]) and pairs.source["other_layout"] == 1
    assert pairs.spans["t1"].equal(task.t1) and pairs.answer_positions[:, 0].equal(task.t2)
    shared = [QUERIES[0], TwoHopQuery(Entity("Help"), LENNON, Entity("Mimi"), "hit", "aunt")]
    assert two_hop_task(gpt2, shared).partners.tolist() == [1, 0]  # better than none
    with pytest.raises(TaskError, match="has no partner"):
        _ = two_hop_task(gpt2, alike).select([0, 2]).pairs()


def test_metrics_read_the_answer_position(task):
    logits = torch.randn(*task.clean.shape, 50257)
    log_prob, difference = task.metric(), task.metric("logit_diff")
    read = torch.take_along_dim(logits, log_prob.positions[..., None], 1)
    found, differing = log_prob(read), difference(read[..., difference.vocab])
    for i, t2 in enumerate(task.t2.tolist()):
        row, answer = logits[i, t2], int(task.answers[i])
        wrong = int(task.answers[int(task.partners[i])])
        assert abs(float(found[i]) - float(row.log_softmax(-1)[answer])) < 1e-4
        assert abs(float(differing[i]) - float(row[answer] - row[wrong])) < 1e-5


def test_select_keeps_what_belongs_together(task):
    chosen = task.select([3, 0])
    assert chosen.queries == (QUERIES[3], QUERIES[0]) and chosen.kinds == ("", "a")
    assert chosen.clean.shape == (2, int(task.lengths[[3, 0]].max()))
    assert chosen.tokens_of("first_hop")[1].equal(task.tokens_of("first_hop")[0])
    assert chosen.t1.tolist() == task.t1[[3, 0]].tolist()
    assert chosen.answer_ids[1] == task.answer_ids[0]
    for wrong in ([], [4], [-1]):
        with pytest.raises(TaskError, match="cannot be selected"):
            task.select(wrong)


def test_world_templates_read_one_hop_at_the_entity(gpt2):
    task = two_hop_task(gpt2, QUERIES[:1] + QUERIES[3:], templates=WORLD, bos=False)
    assert task.texts()[0] == "spouse performer Imagine is"
    assert task.texts("first_hop")[0] == "the performer Imagine"
    assert task.texts("relation_shortcut")[0] == "spouse performer"
    assert gpt2.decode([int(task.clean[0, task.t1[0]])]) == " Imagine"
    assert gpt2.decode([int(task.clean[0, task.spans["r1"][0]])]) == " performer"


def test_refusals(gpt2, task):
    glued = TwoHopQuery(Entity("Ima"), LENNON, ONO, "{}gine", "spouse")
    with pytest.raises(TaskError, match=r"query 0: the span e1 \('Ima'\) .* \['the', .*' Imagine'"):
        two_hop_task(gpt2, [glued])
    with pytest.raises(TaskError, match="no queries"):
        two_hop_task(gpt2, [])
    with pytest.raises(TaskError, match="one gap"):
        two_hop_task(gpt2, [TwoHopQuery(Entity("a"), LENNON, ONO, "{} of {}", "spouse")])
    with pytest.raises(TaskError, match="must hold {phrase} once"):
        Templates(one_hop="is")
    for method in (task.texts, task.text_targets, task.tokens_of):
        with pytest.raises(TaskError, match="Did you mean 'first_hop'"):
            method("first_hopp")
    with pytest.raises(TaskError, match="other_query"):
        task.pairs("other")
    with pytest.raises(TaskError, match="log_prob"):
        task.metric("prob")


def test_slow_tokenizers_are_refused(toy):
    class Slow:
        is_fast, bos_token_id = False, 0

    with pytest.raises(TokenizerError, match="fast tokenizer"):
        two_hop_task(Slow(), QUERIES)
