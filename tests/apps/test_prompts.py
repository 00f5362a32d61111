"""The pair editor: kept, checked, restored by its link, refused with the reason."""

import json

import pytest

from apps.common.text import plain
from apps.parts.prompts import _pair
from mechbench import load_model
from mechbench.analyses.pair_logits import pair_logits
from mechbench.figures.pair_logits import pair_logits_figure
from mechbench.tasks.registry import build_task
from mechbench.tasks.typed_pairs import keep_pairs, typed_pairs


def plain_text(markdown):
    return markdown.replace("\\", "")


def test_generated_prompts_with_answers(page, tmp_path):
    shown = page(tmp_path, "prompts", n=12, page=2, corruption="all")
    assert not shown.exception and not shown.error and not shown.warning
    assert any("clean minus corrupted" in plain_text(c.value) for c in shown.caption)
    assert "pair_logits(" in shown.code[0].value and "all" in shown.code[0].value
    assert any("Page, of 2" in n.label for n in shown.number_input)


def test_the_copied_script_gives_what_the_page_shows(page, tmp_path):
    shown = page(tmp_path, "prompts", n=4, figure=1)
    names: dict = {}
    exec(shown.code[0].value, names)
    figure = pair_logits_figure(names["pair_logits_result"])
    assert figure.title in [plain_text(s.value) for s in shown.subheader]
    assert any(plain(figure.caption) == c.value for c in shown.caption)


def test_each_pair_is_shown_whole(tmp_path):
    """Tokens, several answers, and numbers, as the component gets them."""
    result = pair_logits(load_model("acronyms-gpt2"), build())
    given = _pair(result, 3)
    assert len(given["clean"]) == len(given["corrupted"]) == result.tokens.sizes["position"]
    assert len(given["lines"]) == 1 + result.answers.sizes["answer"] == 4
    assert f"difference {float(result.difference[3]):+.3f}" in given["lines"][0]
    assert f"{float(result.log_prob[1, 3, 2]):.2f}" in given["lines"][3]


def build():
    return build_task("acronyms", load_model("acronyms-gpt2").tokenizer, n=4, seed=0)


@pytest.mark.parametrize(
    "bad", [{"page": "9"}, {"corruption": "none"}, {"n": "0"}, {"task": "x"}, {"model": "<script>"}]
)
def test_bad_parameters(page, tmp_path, bad):
    shown = page(tmp_path, "prompts", **{"n": 4, **bad})
    assert not shown.exception and not shown.error and len(shown.warning) == 1


def test_an_upload_is_kept_and_shown(page, tmp_path, words):
    rows = zip(*(text.split("\n") for text in words.values()), strict=True)
    pairs = [dict(zip(words, row, strict=True)) for row in rows]
    shown = page(tmp_path, "prompts", task="pairs")
    shown.file_uploader(key="upload").set_value(
        ("mine.json", json.dumps(pairs).encode(), "application/json")
    ).run()
    assert not shown.exception and not shown.error, shown.error
    pairs_id = shown.query_params["pairs"]
    assert (tmp_path / "prompts" / f"{pairs_id}.jsonl").is_file()
    assert shown.text_area(key=f"typed-clean{pairs_id}").value == words["clean"]


def test_a_bad_upload_is_refused_in_words(page, tmp_path):
    shown = page(tmp_path, "prompts", task="pairs")
    shown.file_uploader(key="upload").set_value(("mine.json", b"{", "application/json")).run()
    assert not shown.exception and "cannot be read as JSON" in plain_text(shown.error[0].value)
    assert not (tmp_path / "prompts").exists()


def write(shown, **texts):
    for name, text in texts.items():
        shown.text_area(key=f"typed-{name}").set_value(text)
    return shown.button[0].click().run()


@pytest.fixture
def words():
    """Two pairs that the bundled tokenizer splits alike."""
    from mechbench import load_model
    from mechbench.tasks.acronyms import acronyms

    tokenizer = load_model("acronyms-gpt2").tokenizer
    pairs = acronyms(tokenizer, n=2, seed=0).pairs()
    end = int(pairs.answer_positions[0, 0]) + 1
    return {
        "clean": "\n".join(tokenizer.decode(row[1:end]) for row in pairs.clean.tolist()),
        "corrupted": "\n".join(tokenizer.decode(row[1:end]) for row in pairs.corrupt.tolist()),
        "answer": "\n".join(tokenizer.decode(row[:1]) for row in pairs.answers.tolist()),
    }


def test_typed_pairs_are_kept_and_their_link_restores_them(page, tmp_path, words):
    shown = write(page(tmp_path, "prompts", task="pairs"), **words)
    assert not shown.exception and not shown.error, shown.error
    pairs_id = shown.query_params["pairs"]
    assert (tmp_path / "prompts" / f"{pairs_id}.jsonl").is_file()
    again = page(tmp_path, "prompts", task="pairs", pairs=pairs_id)
    assert not again.exception and not again.error and not again.warning
    assert again.text_area(key=f"typed-clean{pairs_id}").value == words["clean"]
    patching = page(tmp_path, "patching", task="pairs", pairs=pairs_id)
    assert not patching.exception and not patching.error
    assert pairs_id in patching.code[0].value


def test_unequal_lengths_block_with_the_reason(page, tmp_path, words):
    longer = words["corrupted"].replace("The", "The The", 1)
    shown = write(page(tmp_path, "prompts", task="pairs"), **{**words, "corrupted": longer})
    assert not shown.exception and "token" in shown.error[0].value
    fewer = write(page(tmp_path, "prompts", task="pairs"), **{**words, "answer": "C"})
    assert "1 answers" in fewer.error[0].value.replace("\\", "")


@pytest.mark.parametrize("pairs_id", ["../../../etc/pas", "0123456789abcdef"])
def test_bad_ids(page, tmp_path, pairs_id):
    keep_pairs(typed_pairs("a", "b", "c"), tmp_path / "prompts")
    shown = page(tmp_path, "prompts", task="pairs", pairs=pairs_id)
    assert not shown.exception and not shown.error and len(shown.warning) == 1
