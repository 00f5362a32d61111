"""Our GPT-2 is Hugging Face's, number by number, and its loader overlooks nothing."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import GPT2Config, GPT2LMHeadModel

from mechbench.errors import CheckpointError
from mechbench.models.loading import load_model
from tests.models.hugging_face_models import TINY, write_gpt2


def largest_difference(ours, theirs, tokens):
    """Of logits and every residual stream after a block, in that order."""
    names = [f"blocks.{layer}.hook_resid_post" for layer in range(ours.cfg.n_layers)]
    with torch.no_grad():
        logits, cache = ours.run_with_cache(tokens, names_filter=names)
        expected = theirs(tokens)
        blocks = []
        handles = [
            block.register_forward_hook(lambda _m, _a, out: blocks.append(out))
            for block in theirs.transformer.h
        ]
        theirs(tokens)
    for handle in handles:
        handle.remove()
    assert len(blocks) == len(names)
    differences = [(logits - expected.logits).abs().max()]
    differences += [
        (cache[name] - block).abs().max() for name, block in zip(names, blocks, strict=True)
    ]
    return max(d.item() for d in differences)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-4), ("float64", 1e-9)])
@pytest.mark.parametrize(
    "config",
    [{}, {"tie_word_embeddings": False}, {"n_inner": 40}, {"layer_norm_epsilon": 1e-2}],
    ids=["plain", "untied", "n_inner", "epsilon"],
)
def test_equals_hugging_face(tmp_path, dtype, tolerance, config):
    theirs = write_gpt2(tmp_path, **config)
    ours = load_model(tmp_path, dtype=dtype, device="cpu")
    tokens = torch.randint(TINY["vocab_size"], (3, 16))
    assert largest_difference(ours, theirs.to(ours.cfg.dtype), tokens) < tolerance


def test_equals_hugging_face_at_the_size_of_gpt2_small(tmp_path):
    torch.manual_seed(1)
    theirs = GPT2LMHeadModel(GPT2Config()).eval()
    theirs.save_pretrained(tmp_path)
    tokens = torch.randint(50257, (1, 16))
    for dtype, tolerance in (("float32", 1e-4), ("float64", 1e-9)):
        ours = load_model(tmp_path, dtype=dtype, device="cpu")
        assert largest_difference(ours, theirs.to(ours.cfg.dtype), tokens) < tolerance


def test_layout_of_the_attention_weights_survives_loading(tmp_path):
    write_gpt2(tmp_path)
    model = load_model(tmp_path)
    # columns of all heads side by side, so that one product serves all heads without a copy
    assert model.blocks[0].attn.W_Q.transpose(0, 1).is_contiguous()


def test_names_without_the_prefix_and_causal_masks_are_read(tmp_path):
    theirs = write_gpt2(tmp_path)
    file = tmp_path / "model.safetensors"
    tensors = {name.removeprefix("transformer."): t for name, t in load_file(file).items()}
    tensors["h.0.attn.bias"] = torch.ones(1, 1, 24, 24).tril()
    tensors["h.1.attn.masked_bias"] = torch.tensor(-1e4)
    tensors["lm_head.weight"] = tensors["wte.weight"].clone()
    save_file(tensors, file)
    tokens = torch.randint(TINY["vocab_size"], (2, 7))
    assert largest_difference(load_model(tmp_path), theirs, tokens) < 1e-4


def test_a_head_that_contradicts_its_tying_is_refused(tmp_path):
    write_gpt2(tmp_path)
    file = tmp_path / "model.safetensors"
    save_file({**load_file(file), "lm_head.weight": torch.zeros(97, 32)}, file)
    with pytest.raises(CheckpointError, match=r"lm_head.weight differs from wte.weight"):
        load_model(tmp_path)


def test_shards_are_read_and_a_missing_one_is_named(tmp_path):
    theirs = write_gpt2(tmp_path)
    theirs.save_pretrained(tmp_path / "sharded", max_shard_size="40KB")
    shards = sorted((tmp_path / "sharded").glob("*.safetensors"))
    assert len(shards) > 2
    tokens = torch.randint(TINY["vocab_size"], (2, 7))
    assert largest_difference(load_model(tmp_path / "sharded"), theirs, tokens) < 1e-4
    shards[1].unlink()
    with pytest.raises(CheckpointError, match=shards[1].name):
        load_model(tmp_path / "sharded")


def edit_config(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_all_problems_are_reported_at_once(tmp_path):
    write_gpt2(tmp_path)
    edit_config(
        tmp_path,
        scale_attn_by_inverse_layer_idx=True,
        activation_function="relu",
        reorder_and_upcast_attn=True,
        rope_theta=1e4,
    )
    file = tmp_path / "model.safetensors"
    tensors = load_file(file)
    del tensors["transformer.wpe.weight"]
    tensors["transformer.ln_f.weight"] = torch.ones(31)
    tensors["transformer.h.0.ln_1.weight"] = torch.ones(32, dtype=torch.int8)
    tensors["adapter"] = torch.ones(1)
    save_file(tensors, file)
    with pytest.raises(CheckpointError) as error:
        load_model(tmp_path)
    message = str(error.value)
    for expected in (
        "8 problems",
        "scale_attn_by_inverse_layer_idx = True is not supported",
        "activation_function = 'relu' is not supported",
        "reorder_and_upcast_attn = True is not supported",
        "rope_theta = 10000.0 is a key that is not known",
        "tensor wpe.weight is missing",
        "tensor ln_f.weight has shape [31], expected [32]",
        "tensor h.0.ln_1.weight has type I8",
        "tensor adapter is not expected",
    ):
        assert expected in message, message


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"n_head": 5}, "n_embd = 32 is not a multiple of n_head = 5"),
        ({"n_layer": 0}, "n_layer = 0, which must be a positive whole number"),
        ({"n_layer": True}, "n_layer = True"),
        ({"layer_norm_epsilon": "tiny"}, "layer_norm_epsilon = 'tiny'"),
        ({"n_ctx": 7}, "n_ctx = 7 is not supported"),
        ({"quantization_config": {"bits": 4}}, "quantization_config"),
        ({"n_layer": 4}, "tensor h.3.ln_1.weight is missing"),
        ({"n_layer": 2}, "tensor h.2.ln_1.weight is not expected"),
    ],
)
def test_a_config_that_does_not_fit_is_refused(tmp_path, changes, expected):
    write_gpt2(tmp_path)
    edit_config(tmp_path, **changes)
    with pytest.raises(CheckpointError) as error:
        load_model(tmp_path)
    assert expected in str(error.value)
