"""The benchmark's ways agree on a tiny model. Nothing here looks at times."""

import json

import pytest

from mechbench.bench import shapes
from mechbench.bench import sweep as bench
from mechbench.models.variants.gpt2 import GPT2, GPT2Config
from mechbench.tasks.pairs import PromptPairs


@pytest.fixture
def tiny(monkeypatch):
    config = GPT2Config(n_layers=2, n_heads=2, d_model=16, d_mlp=32, d_vocab=50257, n_ctx=32)
    monkeypatch.setattr(shapes, "SMALL", config)
    model = GPT2(config)

    def other(tokens):
        return type("Output", (), {"logits": model(tokens)})

    monkeypatch.setattr(bench, "_hugging_face", lambda: other)


def test_the_report_is_complete_and_the_ways_agree(tiny):
    said = []
    report = bench.run_sweep_bench(
        lengths=(6,), n_prompts=2, n_sampled=4, rounds=2, say=said.append
    )
    assert report == json.loads(json.dumps(report))
    entry = report["lengths"]["6"]
    assert len(said) == 1 + len(bench.CASES)
    assert [entry[case.name]["n_cells"] for case in bench.CASES] == [2 * 6, 2 * 2, 2 * 2 * 6]
    for case in bench.CASES:
        assert len(entry[case.name]["sampled_cells"]) == 4
        for way in ("plain loop", "TransformerLens"):
            assert entry[case.name][way]["largest_difference"] < 1e-5
            assert entry[case.name][way]["ratio_to_planner"] > 0


def test_no_speed_is_reported_where_the_ways_disagree(tiny, monkeypatch):
    loop = bench._plain_loop

    def wrong(*args):
        values, work = loop(*args)
        return values + 0.1, work

    monkeypatch.setattr(bench, "_plain_loop", wrong)
    with pytest.raises(AssertionError, match="plain loop"):
        bench.run_sweep_bench(lengths=(6,), n_prompts=2, n_sampled=2, rounds=1, say=lambda _: None)


def test_prompts_differ_everywhere_but_at_bos():
    pairs: PromptPairs = shapes.random_pairs(4, 8)
    assert bool((pairs.clean[:, 0] == pairs.corrupt[:, 0]).all())
    assert bool((pairs.clean[:, 1:] != pairs.corrupt[:, 1:]).all())
