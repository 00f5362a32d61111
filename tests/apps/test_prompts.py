"""The pair editor: kept, checked, restored by its link, refused with the reason."""

import pytest

from mechbench.tasks.typed_pairs import keep_pairs, typed_pairs


def test_generated_prompts_with_answers(page, tmp_path):
    shown = page(tmp_path, "prompts", n=4)
    assert not shown.exception and not shown.error and not shown.warning
    assert len(shown.dataframe[0].value) == 8  # two rows for each of the four pairs
    assert "clean minus corrupted" in shown.caption[1].value.replace("\\", "")
    assert "pair_logits(" in shown.code[0].value


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
    assert again.text_area(key="typed-clean").value == words["clean"]
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
