"""What of a figure's own caption follows a user's."""

import pytest

from mechbench.figures.captions import combined, evidence_in

METHOD = "Noising (one head): a Model of two (2) parts. "
EVIDENCE = (
    "Model gpt2 (607a30d783df, weights processed by fold_ln), 64 prompts of ioi (seed 0); "
    "95 % bootstrap intervals over prompts."
)


def test_the_evidence_is_the_end_of_a_caption():
    assert evidence_in(METHOD + EVIDENCE) == EVIDENCE
    assert evidence_in(EVIDENCE) == EVIDENCE
    assert evidence_in(METHOD) == "" and evidence_in("") == ""


@pytest.mark.parametrize(
    ("given", "keeps", "expected"),
    [
        ("Ours", "all", f"Ours. {METHOD}{EVIDENCE}"),
        ("Ours!", "evidence", f"Ours! {EVIDENCE}"),
        ("Ours", "nothing", "Ours"),
    ],
)
def test_what_is_kept_follows_after_a_stop(given, keeps, expected):
    assert combined(given, METHOD + EVIDENCE, keeps) == expected


def test_a_caption_without_evidence_keeps_none():
    assert combined("Ours", METHOD, "evidence") == "Ours"
