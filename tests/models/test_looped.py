"""Looped transformer: GPT-2 with copied weights, one set of weights, edits that show everywhere."""

import copy
from dataclasses import asdict, replace

import pytest
import torch

from mechbench.errors import CheckpointError, SpecError
from mechbench.models.variants.gpt2 import GPT2, GPT2Config
from mechbench.models.variants.looped import SPEC, TINY, Looped
from mechbench.training.checkpoints import load_checkpoint, save_checkpoint
from tests.conformance.conftest import loud

TOKENS = torch.tensor([[3, 17, 3, 99, 0, 41], [5, 5, 8, 100, 2, 1]])


@pytest.fixture
def model():
    return loud(Looped(TINY))


def unrolled(model: Looped) -> GPT2:
    """A GPT-2 whose layers hold copies of the shared weights."""
    sizes = asdict(model.config)
    n_blocks, n_loops = sizes.pop("n_blocks"), sizes.pop("n_loops")
    dense = GPT2(GPT2Config(n_layers=n_blocks * n_loops, **sizes))
    weights = dict(model.state_dict())
    for name in [n for n in weights if n.startswith("blocks.")]:
        _, block, rest = name.split(".", 2)
        for loop in range(n_loops):
            weights[f"blocks.{int(block) + loop * n_blocks}.{rest}"] = weights[name].clone()
    dense.load_state_dict(weights)
    return dense


def test_one_loop_is_gpt2():
    once = loud(Looped(replace(TINY, n_loops=1)))
    dense = GPT2(GPT2Config(**{**asdict_without_loops(once), "n_layers": TINY.n_blocks}))
    dense.load_state_dict(once.state_dict())
    assert torch.equal(once(TOKENS), dense(TOKENS))


def asdict_without_loops(model: Looped) -> dict:
    return {k: v for k, v in asdict(model.config).items() if k not in ("n_blocks", "n_loops")}


@pytest.mark.parametrize("n_loops", [2, 3])
def test_unrolled_it_is_a_gpt2_with_copied_weights(n_loops):
    model = loud(Looped(replace(TINY, n_loops=n_loops)))
    dense = unrolled(model)
    assert model.cfg.n_layers == len(model.blocks) == 2 * n_loops
    logits, cache = model.run_with_cache(TOKENS)
    expected, plain = dense.run_with_cache(TOKENS)
    assert torch.equal(logits, expected)
    assert set(cache) == set(plain)
    for name, value in plain.items():
        assert torch.equal(cache[name], value), name
    # by name, too, and the loops do differ in what they compute
    for name, weight in dense.tl_parameters().items():
        assert torch.equal(model.tl_parameters()[name], weight), name
    assert (cache["blocks.0.hook_mlp_out"] - cache["blocks.2.hook_mlp_out"]).abs().max() > 1e-3


def test_gradients_are_the_sum_over_loops(model):
    dense = unrolled(model)
    model(TOKENS, "loss").backward()
    dense(TOKENS, "loss").backward()
    for name, weight in model.named_parameters():
        assert weight.grad is not None
        parts = [dict(dense.named_parameters())[name].grad]
        if name.startswith("blocks."):
            _, block, rest = name.split(".", 2)
            again = f"blocks.{int(block) + TINY.n_blocks}.{rest}"
            parts.append(dict(dense.named_parameters())[again].grad)
        torch.testing.assert_close(weight.grad, sum(parts), rtol=1e-4, atol=1e-6)


def still_shared(model: Looped) -> bool:
    found = [
        model.blocks[layer].get_parameter(name) is model.blocks[layer % 2].get_parameter(name)
        for layer in (2, 3)
        for name in ("attn.W_Q", "attn.b_O", "ln1.w", "mlp.W_out")
    ]
    return all(found)


def test_weights_stay_shared(model, tmp_path):
    assert still_shared(model)
    assert still_shared(copy.deepcopy(model))
    empty = SPEC.build_empty(TINY, "empty", torch.float32)
    assert still_shared(empty)
    empty.load_state_dict(model.state_dict(), assign=True)
    assert still_shared(empty) and torch.equal(empty(TOKENS), model(TOKENS))
    optimiser = torch.optim.AdamW(model.parameters())
    save_checkpoint(tmp_path, model, optimiser, 0, 0.0)
    fresh = Looped(TINY)
    load_checkpoint(tmp_path, fresh, optimiser)
    assert still_shared(fresh) and torch.equal(fresh(TOKENS), model(TOKENS))
    assert still_shared(model.double().to("meta"))


def test_each_weight_counts_once(model):
    names = set(model.state_dict())
    assert names == {name for name, _ in model.named_parameters()}
    assert {name.split(".")[1] for name in names if name.startswith("blocks.")} == {"0", "1"}
    more = Looped(replace(TINY, n_loops=5))
    assert sum(p.numel() for p in more.parameters()) == sum(p.numel() for p in model.parameters())


@torch.no_grad()
def test_an_edit_of_one_layer_is_an_edit_of_all_that_share_it(model):
    model.blocks[2].mlp.W_out[:, 3] += 1
    assert torch.equal(model.blocks[0].mlp.W_out, model.blocks[2].mlp.W_out)
    dense = unrolled(model)
    assert torch.equal(model(TOKENS), dense(TOKENS))


def test_weights_of_a_later_layer_are_refused(model):
    weights = dict(model.state_dict())
    weights["blocks.3.mlp.b_in"] = weights["blocks.1.mlp.b_in"]
    with pytest.raises(CheckpointError, match=r"'blocks.1.mlp.b_in'.*given 'blocks.3.mlp.b_in'"):
        model.load_state_dict(weights)
    with pytest.raises(RuntimeError, match="Missing key"):
        model.load_state_dict({})


def test_wrong_sizes_are_refused():
    with pytest.raises(SpecError, match="n_loops = 0"):
        replace(TINY, n_loops=0)
    with pytest.raises(SpecError, match="d_model = 31 is not a multiple of n_heads = 3"):
        replace(TINY, d_model=31)
