"""Hugging Face's GPT-2 through TransformerBridge, with our weights: the same values and sweeps."""

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformer_lens import TransformerBridge, patching
from transformer_lens.tools.analysis import EdgeAttributionConfig, attribution_patch
from transformers import GPT2Config as HuggingFaceConfig
from transformers import GPT2LMHeadModel, PreTrainedTokenizerFast

from mechbench.models.variants.gpt2 import GPT2, GPT2Config
from tests.lens.conftest import SIZES, logit_diff, loud

SHARED = ["hook_resid_pre", "hook_resid_mid", "hook_resid_post", "hook_attn_out", "hook_mlp_out",
          "attn.hook_q", "attn.hook_k", "attn.hook_v", "attn.hook_z", "attn.hook_pattern",
          "mlp.hook_pre", "mlp.hook_post", "ln1.hook_scale", "ln2.hook_scale"]  # fmt: skip


def hugging_face_twin(model: GPT2) -> GPT2LMHeadModel:
    """A Hugging Face model with the same weights, in its layouts."""
    c = model.config
    twin = GPT2LMHeadModel(
        HuggingFaceConfig(
            n_layer=c.n_layers, n_head=c.n_heads, n_embd=c.d_model, n_inner=c.d_mlp,
            n_positions=c.n_ctx, vocab_size=c.d_vocab, bos_token_id=0, eos_token_id=0,
            resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, attn_implementation="eager",
        )
    ).eval()  # fmt: skip
    ours = {name: value.detach() for name, value in model.named_parameters()}
    theirs = {"wte.weight": ours["embed.W_E"], "wpe.weight": ours["pos_embed.W_pos"]}

    def norm(name, source):
        theirs[f"{name}.weight"], theirs[f"{name}.bias"] = ours[f"{source}.w"], ours[f"{source}.b"]

    norm("ln_f", "ln_final")
    for layer in range(c.n_layers):
        h, b = f"h.{layer}", f"blocks.{layer}"
        norm(f"{h}.ln_1", f"{b}.ln1")
        norm(f"{h}.ln_2", f"{b}.ln2")
        columns = [ours[f"{b}.attn.W_{p}"].permute(1, 0, 2).flatten(1) for p in "QKV"]
        theirs[f"{h}.attn.c_attn.weight"] = torch.cat(columns, dim=1)
        biases = [ours[f"{b}.attn.b_{p}"].flatten() for p in "QKV"]
        theirs[f"{h}.attn.c_attn.bias"] = torch.cat(biases)
        theirs[f"{h}.attn.c_proj.weight"] = ours[f"{b}.attn.W_O"].flatten(0, 1)
        theirs[f"{h}.attn.c_proj.bias"] = ours[f"{b}.attn.b_O"]
        theirs[f"{h}.mlp.c_fc.weight"] = ours[f"{b}.mlp.W_in"]
        theirs[f"{h}.mlp.c_fc.bias"] = ours[f"{b}.mlp.b_in"]
        theirs[f"{h}.mlp.c_proj.weight"] = ours[f"{b}.mlp.W_out"]
        theirs[f"{h}.mlp.c_proj.bias"] = ours[f"{b}.mlp.b_out"]
    twin.transformer.load_state_dict(theirs)
    return twin


@pytest.fixture(scope="module")
def pair():
    model = loud(GPT2(GPT2Config(**SIZES)))
    twin = hugging_face_twin(model)
    words = Tokenizer(WordLevel({f"w{i}": i for i in range(SIZES["d_vocab"])}, unk_token="w0"))
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, eos_token="w1", unk_token="w0", pad_token="w1"
    )
    bridge = TransformerBridge.boot_transformers("gpt2", hf_model=twin, tokenizer=tokenizer)
    draw = torch.Generator().manual_seed(3)
    clean, corrupt = torch.randint(0, SIZES["d_vocab"], (2, 2, 5), generator=draw)
    return model, twin, bridge, clean, corrupt


def close(a, b, tolerance=2e-4):
    torch.testing.assert_close(a.detach(), b.detach(), rtol=0, atol=tolerance)


def test_logits_and_residual_streams_equal_hugging_face(pair):
    model, twin, _, clean, _ = pair
    theirs = twin(clean, output_hidden_states=True)
    logits, cache = model.run_with_cache(clean)
    close(logits, theirs.logits)
    for layer, resid in enumerate(theirs.hidden_states[:-1]):
        close(cache["resid_pre", layer], resid)


def test_cached_values_equal_the_bridge(pair):
    model, _, bridge, clean, _ = pair
    ours, theirs = model.run_with_cache(clean)[1], bridge.run_with_cache(clean)[1]
    names = [f"blocks.{layer}.{name}" for layer in range(2) for name in SHARED]
    for name in ["hook_embed", "hook_pos_embed", "ln_final.hook_scale", *names]:
        close(ours[name], theirs[name])


def test_head_sweeps_equal_the_bridge(pair):
    model, _, bridge, clean, corrupt = pair
    run = patching.get_act_patch_attn_head_all_pos_every
    found = []
    with torch.no_grad():
        for each in (model, bridge):
            cache = each.run_with_cache(clean)[1]
            found.append(run(each, corrupt, cache, lambda logits: logit_diff(logits).mean()))
    close(*found)


def test_edge_attribution_equals_the_bridge(pair):
    model, _, bridge, clean, corrupt = pair
    config = EdgeAttributionConfig(granularity="edge")
    ours, theirs = (
        attribution_patch(each, clean, corrupt, lambda logits: logit_diff(logits).mean(), config)
        for each in (model, bridge)
    )
    assert ours.edge_scores.keys() == theirs.edge_scores.keys()
    for edge, score in theirs.edge_scores.items():
        assert abs(ours.edge_scores[edge] - score) < 2e-4
