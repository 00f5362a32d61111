"""The benchmark's ways agree on a tiny model. Nothing here looks at times."""

import json
from dataclasses import replace

import pytest

from mechbench.bench import backpatch as bench


@pytest.fixture
def tiny(monkeypatch):
    sizes = dict(n_layer=3, n_head=2, n_embd=16, n_positions=32, vocab_size=199, bos_token_id=0)
    monkeypatch.setattr(bench, "_SIZES", {**sizes, "eos_token_id": 0})
    monkeypatch.setattr(bench, "_STD", 0.5)


OPTIONS = dict(n_prompts=3, length=5, n_new=4, n_sampled=5)


def test_the_report_is_complete_and_the_ways_agree(tiny):
    said = []
    report = bench.run_backpatch_bench(**OPTIONS, say=said.append)
    assert report == json.loads(json.dumps(report))
    assert (report["n_pairs"], report["sampled_pairs"], report["target"]) == (9, 5, 8.0)
    assert report["different_texts"] > 4 and report["batched"]["method"].startswith("wavefront")
    assert len(said) == 3
    for way in ("plain loop", "Hugging Face"):
        assert report[way]["differing_continuations"] == 0
        assert report[way]["ratio_to_batched"] > 0
        assert report[way]["seconds"] == pytest.approx(report[way]["seconds_per_pair"] * 9)


def test_no_speed_is_reported_where_the_ways_disagree(tiny, monkeypatch):
    sweep = bench._sweep

    def wrong(case, cells):
        found = sweep(case, cells)
        return replace(found, tokens=found.tokens + 1)

    monkeypatch.setattr(bench, "_sweep", wrong)
    with pytest.raises(AssertionError, match="plain loop: 5 of 5 continuations differ"):
        bench.run_backpatch_bench(**OPTIONS, say=lambda _: None)
