"""Models of other architectures behave like any other model, number by number with Hugging Face."""

from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformer_lens import ActivationCache

from mechbench.errors import (
    CheckpointError,
    HookNameError,
    SpecError,
    TaskError,
    TokenizerError,
    UnsupportedHookError,
)
from mechbench.models.base import HookedModel
from mechbench.models.loading import load_model

SIZES = dict(
    vocab_size=64,
    hidden_size=32,
    num_hidden_layers=2,
    num_attention_heads=4,
    intermediate_size=48,
    max_position_embeddings=32,
    bos_token_id=1,
    eos_token_id=2,
)
GROUPED = dict(SIZES, num_key_value_heads=2)
KINDS = {
    "GPTNeoX": SIZES,
    "Qwen2": GROUPED,
    "Gemma2": dict(GROUPED, head_dim=8, pad_token_id=0, final_logit_softcapping=2.0),
    "Mixtral": dict(GROUPED, num_local_experts=4),
}


@torch.no_grad()
def write(kind, folder):
    """A randomly initialised model of another architecture, saved by Hugging Face."""
    config = getattr(transformers, f"{kind}Config")(**KINDS[kind])
    model = getattr(transformers, f"{kind}ForCausalLM")(config).eval()
    for weight in model.parameters():
        weight.add_(torch.randn_like(weight) * 0.1)
    model.save_pretrained(folder)
    return model


@pytest.fixture(scope="module")
def stories():
    path = Path(__file__).resolve().parents[3] / "shared" / "models" / "stories260k"
    if not path.exists():
        pytest.skip("reference material 'models/stories260k' is not beside this checkout")
    torch.manual_seed(0)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(path)
    return load_model(path, device="cpu"), theirs, transformers.AutoTokenizer.from_pretrained(path)


@torch.no_grad()
def test_a_pretrained_llama_equals_hugging_face(stories):
    ours, theirs, _ = stories
    assert isinstance(ours, HookedModel) and not ours.training
    tokens = torch.randint(512, (2, 9))
    expected = theirs(tokens, output_hidden_states=True)
    logits, cache = ours.run_with_cache(tokens)
    assert (logits - expected.logits).abs().max() < 1e-4
    for layer in range(5):
        resid = cache["resid_pre", layer]
        assert (resid - expected.hidden_states[layer]).abs().max() < 1e-4
        assert torch.equal(ours(tokens, stop_at_layer=layer), resid)
    assert torch.equal(ours(tokens, stop_at_layer=5), cache["resid_post", -1])
    assert torch.equal(ours.unembed(ours.ln_final(cache["resid_post", -1])), logits)
    positions, vocab = torch.tensor([[8, 2], [0, 3]]), torch.tensor([5, 9])
    picked = ours.answer_logits(tokens, positions, vocab)
    assert torch.equal(picked[1, 0], logits[1, 0, vocab])
    assert torch.equal(picked[0, 1], logits[0, 2, vocab])
    loss = theirs(tokens, labels=tokens).loss
    assert ours(tokens, return_type="loss").item() == pytest.approx(loss.item(), abs=1e-5)


def test_greedy_text_equals_hugging_face(stories):
    ours, theirs, tokenizer = stories
    inputs = tokenizer("Once upon a time", return_tensors="pt")
    assert torch.equal(ours.to_tokens("Once upon a time"), inputs["input_ids"])
    expected = theirs.generate(**inputs, max_new_tokens=40, do_sample=False)
    found = ours.generate("Once upon a time", max_new_tokens=40)
    assert torch.equal(found.tokens[0], expected[0])
    assert found.completions[0].startswith(
        ", there was a little girl named Lily. She loved to play outside in the park."
    )


@torch.no_grad()
def test_grouped_heads_stay_grouped(stories):
    ours, theirs, _ = stories
    _, cache = ours.run_with_cache(torch.randint(512, (2, 9)))
    shapes = {"q": (2, 9, 8, 8), "k": (2, 9, 4, 8), "v": (2, 9, 4, 8), "z": (2, 9, 8, 8)}
    assert {name: tuple(cache[name, 3].shape) for name in shapes} == shapes
    assert cache["pattern", 3].shape == (2, 8, 9, 9)
    assert ours.cfg.n_key_value_heads == 4
    assert ours.W_Q.shape == (5, 8, 64, 8) and ours.W_K.shape == ours.W_V.shape == (5, 4, 64, 8)
    stored = theirs.model.layers[3].self_attn
    assert torch.equal(ours.W_K[3, 1], stored.k_proj.weight[8:16].T)
    assert torch.equal(ours.W_O[3, 5], stored.o_proj.weight[:, 40:48].T)
    # a kv head serves two query heads: patching it changes z of those two and of no other
    with ours.hooks([("blocks.3.attn.hook_v", zero_head(1))]):
        _, patched = ours.run_with_cache(torch.randint(512, (1, 4)), names_filter=Z)
    assert patched[Z][0, :, [2, 3]].abs().max() == 0
    assert patched[Z][0, :, [0, 1, 4, 5, 6, 7]].abs().amax(-1).min() > 0


Z = "blocks.3.attn.hook_z"


def zero_head(head):
    def hook_fn(tensor, hook):
        tensor[:, :, head] = 0

    return hook_fn


@torch.no_grad()
def test_hooks_fire_under_their_names_and_change_the_output(stories):
    ours, theirs, _ = stories
    tokens = torch.randint(512, (2, 9))
    clean, seen = ours(tokens), []

    def double(tensor, hook):
        seen.append((hook.name, hook.layer()))
        return tensor * 2

    changed = ours.run_with_hooks(tokens, fwd_hooks=[("blocks.2.hook_mlp_out", double)])
    assert seen == [("blocks.2.hook_mlp_out", 2)]
    handle = theirs.model.layers[2].mlp.register_forward_hook(lambda m, a, out: out * 2)
    expected = theirs(tokens).logits
    handle.remove()
    assert (changed - expected).abs().max() < 1e-4 < (changed - clean).abs().max()
    assert torch.equal(ours(tokens), clean)
    ours.add_hook("blocks.1.hook_resid_pre", double)
    assert not torch.equal(ours(tokens), clean)
    ours.reset_hooks()
    assert torch.equal(ours(tokens), clean)


@torch.no_grad()
def test_filters_are_strict_and_caches_are_transformer_lens_objects(stories):
    ours, _, _ = stories
    tokens = torch.randint(512, (1, 6))
    _, cache = ours.run_with_cache(tokens, names_filter=lambda name: name.endswith("hook_z"))
    assert isinstance(cache, ActivationCache) and len(cache) == 5
    with pytest.raises(HookNameError, match=r"blocks.0.attn.hook_z"):
        ours.run_with_cache(tokens, names_filter="blocks.0.attn.hook_zz")
    with pytest.raises(HookNameError):
        ours.run_with_hooks(tokens, fwd_hooks=[(lambda name: False, zero_head(0))])
    _, cache = ours.run_with_cache(tokens)
    parts = cache.decompose_resid(layer=5, mode="all")
    assert (parts.sum(0) - cache["resid_post", -1]).abs().max() < 1e-4
    heads = cache.stack_head_results(layer=3)
    assert heads.shape == (24, 1, 6, 64)
    assert (heads[8:16].sum(0) - cache["attn_out", 1]).abs().max() < 1e-4
    assert ours.accumulated_bias(3).abs().max() == 0


@torch.no_grad()
def test_generation_hooks_have_their_scope(stories):
    ours, _, _ = stories
    hooks = [("blocks.4.hook_resid_post", lambda tensor, hook: -tensor)]
    free = ours.generate("Once", max_new_tokens=6).tokens[0]
    prompt = ours.generate("Once", max_new_tokens=6, fwd_hooks=hooks).tokens[0]
    every = ours.generate("Once", max_new_tokens=6, fwd_hooks=hooks, hook_scope="every_step")
    n = len(ours.to_tokens("Once")[0])
    ids = free[:n][None]
    for _ in range(6):
        with ours.hooks(hooks):
            ids = torch.cat([ids, ours(ids)[:, -1:].argmax(-1)], dim=1)
    assert torch.equal(every.tokens[0], ids[0])
    assert prompt[n] == ids[0, n] != free[n]
    assert not torch.equal(prompt, ids[0])


def test_what_a_bridged_model_cannot_do_is_said(stories):
    ours, _, _ = stories
    tokens = torch.randint(512, (1, 4))
    assert not ours.capabilities.restart_at_layer and not ours.capabilities.restart_at_position
    with pytest.raises(TaskError, match="512 tokens"):
        ours(torch.zeros(1, 513, dtype=torch.long))
    with pytest.raises(TaskError, match="remembered positions"):
        ours(tokens, memories=[])
    with pytest.raises(TaskError, match="one batch needs one length"):
        ours.to_tokens(["Once upon", "Once upon a time there"])
    with pytest.raises(TaskError, match="stop_at_layer=6"):
        ours(tokens, stop_at_layer=6)


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_other_architectures(tmp_path, kind):
    theirs = write(kind, tmp_path)
    ours = load_model(tmp_path, device="cpu")
    tokens = torch.randint(64, (2, 9))
    logits, cache = ours.run_with_cache(tokens)
    assert (logits - theirs(tokens).logits).abs().max() < 1e-4
    # soft caps included
    assert (ours.unembed(ours.ln_final(cache["resid_post", -1])) - logits).abs().max() < 1e-5
    assert cache["v", 1].shape == (2, 9, KINDS[kind].get("num_key_value_heads", 4), 8)
    assert ours.source.through == "TransformerBridge" and len(ours.source.sha256) == 64
    assert ours.tokenizer is None
    with pytest.raises(TokenizerError):
        ours.to_tokens("text")


ALL = {"fold_ln": True, "center_writing_weights": True, "center_unembed": True}
NO_CENTRE = {"fold_ln": True, "center_unembed": True}


@pytest.mark.parametrize(
    ("kind", "options"), [("GPTNeoX", ALL), ("Qwen2", NO_CENTRE), ("Gemma2", {"fold_ln": True})]
)
@torch.no_grad()
def test_processing_keeps_log_probabilities(tmp_path, kind, options):
    theirs = write(kind, tmp_path).double()
    ours = load_model(tmp_path, dtype="float64", **options)
    tokens = torch.randint(64, (2, 9))
    difference = ours(tokens).log_softmax(-1) - theirs(tokens).logits.log_softmax(-1)
    assert difference.abs().max() < 1e-6
    assert set(ours.source.processing) == set(options)
    if "center_unembed" in options:
        assert ours.W_U.mean(-1).abs().max() < 1e-6


@pytest.mark.parametrize(
    ("kind", "option", "expected"),
    [
        ("Qwen2", "center_writing_weights", "do not subtract the mean"),
        ("Gemma2", "center_unembed", "caps its logits"),
        ("Mixtral", "fold_ln", "routes tokens to experts"),
    ],
)
def test_processing_that_would_change_the_model_is_refused(tmp_path, kind, option, expected):
    write(kind, tmp_path)
    with pytest.raises(SpecError, match=expected):
        load_model(tmp_path, **{option: True})


def test_missing_and_unexpected_tensors_are_reported_together(tmp_path):
    write("Qwen2", tmp_path)
    file = tmp_path / "model.safetensors"
    tensors = load_file(file)
    del tensors["model.norm.weight"]
    save_file({**tensors, "extra": torch.ones(1)}, file)
    with pytest.raises(CheckpointError) as error:
        load_model(tmp_path)
    assert "model.norm.weight is missing" in str(error.value)
    assert "extra is not expected" in str(error.value)


def test_models_that_are_not_causal_or_not_known_are_refused(tmp_path):
    config = transformers.BertConfig(**{k: v for k, v in SIZES.items() if "token" not in k})
    transformers.BertLMHeadModel(config).save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="not a causal language model"):
        load_model(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "nonesuch"}')
    with pytest.raises(CheckpointError, match="nonesuch"):
        load_model(tmp_path)


def test_a_state_space_model_says_that_it_has_no_attention_weights(tmp_path):
    config = transformers.MambaConfig(vocab_size=64, hidden_size=32, num_hidden_layers=2)
    transformers.MambaForCausalLM(config).save_pretrained(tmp_path)
    with pytest.raises(UnsupportedHookError, match="no W_Q"):
        _ = load_model(tmp_path).W_Q


@pytest.mark.parametrize(
    ("switch", "name", "shape"),
    [
        ("use_attn_result", "blocks.1.attn.hook_result", (2, 5, 8, 64)),
        ("use_split_qkv_input", "blocks.1.hook_q_input", (2, 5, 8, 64)),
        ("use_split_qkv_input", "blocks.1.hook_v_input", (2, 5, 4, 64)),
        ("use_attn_in", "blocks.1.hook_attn_in", (2, 5, 8, 64)),
        ("use_hook_mlp_in", "blocks.1.hook_mlp_in", (2, 5, 64)),
    ],
)
@torch.no_grad()
def test_hook_points_with_a_switch(stories, switch, name, shape):
    ours, _, _ = stories
    tokens = torch.randint(512, (2, 5))
    clean = ours(tokens)
    with pytest.raises(HookNameError, match=rf"model.set_{switch}\(True\)"):
        ours.run_with_cache(tokens, names_filter=name)
    getattr(ours, f"set_{switch}")(True)
    try:
        logits, cache = ours.run_with_cache(tokens, names_filter=name)
        changed = ours.run_with_hooks(tokens, fwd_hooks=[(name, lambda t, hook: t * 0)])
    finally:
        getattr(ours, f"set_{switch}")(False)
    assert cache[name].shape == shape
    assert (logits - clean).abs().max() < 1e-4 < (changed - clean).abs().max()
