"""Generated multiple-choice questions: right answers by other means, positions, places, errors."""

import re
from collections import Counter

import pytest
import torch
from tokenizers.pre_tokenizers import ByteLevel
from transformers import PreTrainedTokenizerFast

from mechbench.errors import TaskError, TokenizerError
from mechbench.models.variants.gpt2 import GPT2, GPT2Config
from mechbench.resources import bundled
from mechbench.tasks.choice_families import CATEGORIES, FAMILIES
from mechbench.tasks.choice_texts import COLOURS, NAMES, PLACES, THINGS
from mechbench.tasks.multiple_choice import ChoiceItem, ChoiceTask, choice_task, multiple_choice

RED = ChoiceItem("Which is a colour", ("table", "red", "walk"), 1, "own")
LONG = ChoiceItem("Which of these many words is the one that names a colour", ("dog", "blue"), 1)


@pytest.fixture(scope="module")
def mcq():
    return PreTrainedTokenizerFast.from_pretrained(bundled("data") / "tokenizers" / "mcq")


@pytest.fixture(params=["gpt2", "mcq"])
def tokenizer(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def task(tokenizer):
    return multiple_choice(tokenizer, 80, n_options=[2, 3, 4, 5])


# --- Answers by other means -----------------------------------------------------------------------


def solve_ioi(question):
    """The name that is said once."""
    ((name, _),) = [
        (name, times)
        for name, times in Counter(re.findall(r"\b[A-Z][a-z]+\b", question)).items()
        if times == 1 and name in NAMES
    ]
    return name


def solve_greater_than(question):
    return max(re.findall(r"\d+", question), key=int)


KINDS = {"name": NAMES, "colour": COLOURS, "place": PLACES, "thing": THINGS}


def solve_category(question):
    words, kind = re.fullmatch(r"Which of (.*) is a (\w+)", question).groups()
    words = re.split(r", | and ", words)
    (word,) = [w for w in words if (w.isdigit() if kind == "number" else w in KINDS[kind])]
    return word


def solve_alphabet(question):
    return min(re.findall(r"[A-Z][a-z]+", question.removeprefix("Which")), key=str.lower)


def solve_attribute(question):
    (wanted,) = re.findall(r"which colour is the (\w+)$", question)
    return dict(re.findall(r"the (\w+) is (\w+)", question))[wanted]


def solve_deduction(question):
    """The only one of whom nobody is said to be older, or younger."""
    pairs = re.findall(r"(\w+) is older than (\w+)", question)
    older, younger = {a for a, _ in pairs}, {b for _, b in pairs}
    (name,) = older - younger if question.endswith("oldest") else younger - older
    return name


SOLVERS = {
    "ioi": solve_ioi,
    "greater_than": solve_greater_than,
    "attribute": solve_attribute,
    "deduction": solve_deduction,
    "category": solve_category,
    "alphabet": solve_alphabet,
}


@pytest.mark.parametrize("family", FAMILIES)
def test_the_right_option_follows_from_the_question(mcq, family):
    task = multiple_choice(mcq, 200, families=[family], n_options=[2, 3, 4, 5], seed=3)
    for item, gold in zip(task.items, task.gold.tolist(), strict=True):
        assert item.options[gold] == SOLVERS[family](item.question), item
        assert all(re.search(rf"\b{option}\b", item.question) for option in item.options)
    assert Counter(len(item.options) for item in task.items) == dict.fromkeys((2, 3, 4, 5), 50)


def test_words_are_of_one_kind_and_no_name_is_part_of_another():
    words = [word for kind in CATEGORIES.values() for word in kind]
    assert len(set(words)) == len(words)
    assert not [(a, b) for a in NAMES for b in NAMES if a != b and a in b]


# --- Prompts and positions ------------------------------------------------------------------------


def test_prompts_have_the_published_form(gpt2):
    task = choice_task(gpt2, [RED])
    expected = "Question: Which is a colour? Answer Choices: A: table B: red C: walk Answer:"
    assert task.texts == (expected,)
    assert task.clean.tolist() == [[gpt2.bos_token_id, *gpt2(expected)["input_ids"]]]
    assert gpt2.decode(task.label_ids[task.gold]) == " B"
    asked = choice_task(gpt2, [ChoiceItem(" The sky  is  blue because of. ", ("air", "it"), 0)])
    assert asked.texts[0].startswith("Question: The sky is blue because of. Answer Choices:")


def character_of_each_token(task, row):
    """Where each token begins in the text, by adding up the lengths of the decoded tokens."""
    starts, length = [0], 0
    for token in task.clean[row, 1 : task.lengths[row]].tolist():
        starts.append(length)
        length += len(task.tokenizer.decode([token]))
    return starts, length


def test_positions_are_those_of_the_characters(task):
    for row, text in enumerate(task.texts):
        starts, length = character_of_each_token(task, row)
        assert length == len(text)
        found = re.search(r"Answer Choices:(.*) Answer:$", text)
        begin = found.start(1)
        marks = list(re.finditer(r" ([A-E]): ([^:]*?)(?= [A-E]:|$)", found.group(1)))
        assert len(marks) == task.n_options[row]
        for option, mark in enumerate(marks):
            at_label = begin + mark.start()  # of the space that belongs to the label's token
            assert starts[task.label_positions[row, option]] == at_label
            last = int(task.option_positions[row, option])
            assert starts[last] < begin + mark.end() and starts[last + 1] == begin + mark.end()
            assert mark.group(2) == task.items[row].options[option]
        assert (task.label_positions[row, len(marks) :] == -1).all()
        assert (task.option_positions[row, len(marks) :] == -1).all()


def test_padding_stands_behind_and_changes_nothing(mcq):
    task = multiple_choice(mcq, 8)
    torch.manual_seed(0)
    size = len(task.tokenizer)
    model = GPT2(GPT2Config(n_layers=2, n_heads=2, d_model=8, d_mlp=8, d_vocab=size, n_ctx=80))
    few = task.select([0, 3])
    assert len(set(few.lengths.tolist())) == 2
    with torch.no_grad():
        padded = model(few.clean)
        for row, length in enumerate(few.lengths.tolist()):
            assert (few.clean[row, length:] == few.tokenizer.bos_token_id).all()
            alone = model(few.clean[row : row + 1, :length])[0, -1]
            torch.testing.assert_close(padded[row, length - 1], alone, atol=1e-5, rtol=0)


# --- Places ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("gold", "first"), [("balanced", 0), ("not_first", 1)])
def test_places_are_balanced_in_each_family_and_size(mcq, gold, first):
    task = multiple_choice(mcq, 4 * 6 * 12, n_options=[2, 3, 4, 5], gold=gold)
    counts = Counter(zip(task.sets, task.n_options.tolist(), task.gold.tolist(), strict=True))
    for family in FAMILIES:
        for n_options in (2, 3, 4, 5):
            places = [counts[family, n_options, place] for place in range(n_options)]
            assert places[:first] == [0] * first
            assert max(places[first:]) - min(places[first:]) <= 1 and sum(places) == 12


def test_as_given_keeps_the_order_of_the_question(mcq):
    task = multiple_choice(mcq, 40, gold="as_given")
    for item in task.items:
        at = [re.search(rf"\b{option}\b", item.question).start() for option in item.options]
        assert at == sorted(at)


def test_balanced_options_are_in_no_order_of_the_question(mcq):
    task = multiple_choice(mcq, 60, families=["attribute"], n_options=3, gold="not_first")
    orders = Counter(
        tuple(sorted(range(3), key=[item.question.index(o) for o in item.options].__getitem__))
        for item in task.items
    )
    assert len(orders) == 6


def test_default_sizes_are_those_of_the_paper(mcq):
    task = multiple_choice(mcq, 12)
    sizes = dict(zip(task.sets, task.n_options.tolist(), strict=True))
    paper = {"ioi": 2, "deduction": 3, "greater_than": 4}
    assert sizes == paper | {"attribute": 4, "category": 5, "alphabet": 3}


def test_the_same_seed_gives_the_same_prompts(mcq):
    first, again, other = (multiple_choice(mcq, 12, seed=seed) for seed in (0, 0, 1))
    assert first.texts == again.texts != other.texts
    assert first.source == again.source != other.source


# --- Labels ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "expected"),
    [("1", ("1", "2", "3")), ("P", ("P", "Q", "R")), (["X", "M", "K", "J"], ("X", "M", "K"))],
)
def test_relabelling_keeps_the_questions(tokenizer, labels, expected):
    task = choice_task(tokenizer, [RED, LONG])
    other = task.relabelled(labels)
    assert other.labels == expected and other.items == task.items
    assert [tokenizer.decode([i]) for i in other.label_ids] == [f" {name}" for name in expected]
    assert torch.equal(other.label_positions, task.label_positions)
    swapped = task.clean.clone()
    for was, now in zip(task.label_ids, other.label_ids, strict=True):
        where = (task.clean == was) & torch.zeros_like(task.clean, dtype=torch.bool).scatter(
            1, task.label_positions.clamp_min(0), True
        )
        swapped[where] = now
    assert torch.equal(other.clean, swapped)


def test_label_errors_say_what_is_wrong(gpt2, mcq):
    with pytest.raises(TokenizerError, match=r"\[' b', 'az'\]|\['Answer', ':', ' b', 'az'\]"):
        choice_task(gpt2, [RED], labels=["foo", "baz", "bar"])
    for labels, message in (
        (["A", "a", "C"], "'A' and 'a' are equal"),
        (["A", "B"], "3 labels are needed"),
        (["A", "", "C"], "without spaces, got ''"),
        ("AB", "names no first label"),
        ("Y", "no 3 consecutive"),
        ("8", "no 3 consecutive"),
    ):
        with pytest.raises(TaskError, match=re.escape(message)):
            choice_task(mcq, [RED], labels=labels)
    item = ChoiceItem("Which letter comes first", ("B", "A"), 1)
    with pytest.raises(TokenizerError, match="the option 'B' is also a label"):
        choice_task(mcq, [item])
    assert choice_task(mcq, [item], labels="P").labels == ("P", "Q")


def merging(make_toy, *merge):
    """A toy tokenizer whose merges may cross words."""
    tokenizer = make_toy(merges=[merge])
    tokenizer.backend_tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False, use_regex=False)
    return tokenizer


def test_a_label_that_is_split_in_the_prompt_is_shown(make_toy):
    message = "the label 'B' is not its own token in the prompt: .*' B:'"
    with pytest.raises(TokenizerError, match=message):
        choice_task(merging(make_toy, "ĠB", ":"), [LONG])


def test_an_option_that_runs_into_what_follows_is_shown(make_toy):
    tokenizer = merging(make_toy, "b", "ĠA")
    task = choice_task(tokenizer, [ChoiceItem("Which", ("cb", "dd"), 0)])
    with pytest.raises(TokenizerError, match="'cb' does not end with a token: .*'b A'"):
        task.pairs()


# --- Items, corruptions, metric -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("question", "options", "gold", "message"),
    [
        (" ? ", ("a", "b"), 0, "question is empty"),
        ("Which", ("one",), 0, "2 to 5 options are supported, got 1"),
        ("Which", tuple("abcdef"), 0, "2 to 5 options are supported, got 6"),
        ("Which", ("red", " Red "), 0, "'red' and ' Red ' are equal"),
        ("Which", ("red", ""), 0, "an option is empty"),
        ("Which", ("red", "blue"), 2, "number 2 (from 0), and there are 2 options"),
        ("Which", ("red", "blue"), -1, "number -1"),
    ],
)
def test_items_that_cannot_be_asked(question, options, gold, message):
    with pytest.raises(TaskError, match=re.escape(message)):
        ChoiceItem(question, options, gold)


@pytest.mark.parametrize("corruption", ["rotated", "anchor_swapped"])
def test_corruptions_put_the_right_content_under_another_label(task, corruption):
    pairs, other = task.pairs(corruption), task.corrupted(corruption)
    assert torch.equal(pairs.clean, task.clean) and torch.equal(pairs.corrupt, other.clean)
    assert (other.gold != task.gold).all()
    for before, after in zip(task.items, other.items, strict=True):
        assert before.question == after.question
        assert before.options[before.gold] == after.options[after.gold]
        assert sorted(before.options) == sorted(after.options)
        if corruption == "anchor_swapped":
            assert 0 in (before.gold, after.gold)
    rows = torch.arange(len(task))
    anchors = task.clean[rows, pairs.spans["anchor"]]
    assert (anchors == task.label_ids[0]).all()
    assert torch.equal(task.clean[rows, pairs.spans["gold"]], pairs.answers[:, 0])
    assert torch.equal(pairs.spans["T"], task.lengths - 1)
    assert task.tokenizer.decode([int(task.clean[0, pairs.spans["T"][0]])]) == ":"


def test_a_corruption_that_changes_the_length_is_refused(mcq, monkeypatch):
    longer = choice_task(mcq, [LONG, LONG])
    monkeypatch.setattr(ChoiceTask, "corrupted", lambda *_: longer)
    with pytest.raises(TaskError, match="1 of 2 prompts change their length.*Which is a colour"):
        choice_task(mcq, [RED, LONG]).pairs()


def test_the_metric_is_the_right_label_against_the_prompts_others(task):
    metric = task.metric()
    logits = torch.randn(len(task), 1, len(task.tokenizer))
    found = metric(logits[..., metric.vocab])[:, 0]
    for row, (gold, n) in enumerate(zip(task.gold.tolist(), task.n_options.tolist(), strict=True)):
        values = [float(logits[row, 0, i]) for i in task.label_ids[:n]]
        right = values.pop(gold)
        assert float(found[row]) == pytest.approx(right - max(values), abs=1e-6)
    assert torch.equal(metric.positions[:, 0], task.lengths - 1)


def test_select_is_the_task_of_the_items(task):
    for rows, chosen in (
        ([5, 2], [5, 2]),
        (slice(3, 6), [3, 4, 5]),
        (task.gold == 1, (task.gold == 1).nonzero().flatten().tolist()),
    ):
        some = task.select(rows)
        built = choice_task(task.tokenizer, [task.items[i] for i in chosen])
        assert some.items == built.items
        assert torch.equal(some.clean, built.clean)
        assert torch.equal(some.gold, built.gold)
        width = built.label_positions.shape[1]
        assert torch.equal(some.label_positions[:, :width], built.label_positions)
        assert some.source["prompts_sha256"] == built.source["prompts_sha256"]
        assert len(some.metric().positions) == len(chosen)
    with pytest.raises(TaskError, match="none of them is selected"):
        task.select([])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": 0}, "n of at least 1"),
        ({"families": ["greater"]}, "greater_than"),
        ({"families": []}, "one or more"),
        ({"families": ["ioi", "ioi"]}, "each once"),
        ({"n_options": 6}, "use 2 to 5"),
        ({"n_options": []}, "use 2 to 5"),
        ({"seed": -1}, "from 0"),
    ],
)
def test_wrong_parameters(mcq, options, message):
    with pytest.raises(TaskError, match=message):
        multiple_choice(mcq, **options)


def test_unknown_corruption(task):
    with pytest.raises(TaskError, match="rotated"):
        task.pairs("rotate")


def test_a_slow_tokenizer_is_refused(mcq):
    class Slow:
        is_fast, bos_token_id = False, 0

        def __call__(self, *args, **options):
            return mcq(*args, **options)

    with pytest.raises(TokenizerError, match="character offsets"):
        choice_task(Slow(), [RED])
