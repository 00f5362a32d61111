"""``ActivationCache``'s decompositions, logit attribution and the logit lens, against sums."""

import pytest
import torch
from transformer_lens.tools.analysis import direct_logit_attribution, logit_lens, logit_readout

from tests.reference.plain_gpt2 import untouched


def close(a, b, tolerance=1e-10):
    torch.testing.assert_close(a.detach(), b.detach(), rtol=0, atol=tolerance)


def plain(case, *names):
    return torch.stack([case.plain_clean[name] for name in names])


def component_names(n_layers):
    parts = [(f"blocks.{i}.hook_attn_out", f"blocks.{i}.hook_mlp_out") for i in range(n_layers)]
    return ["hook_embed", "hook_pos_embed", *[name for pair in parts for name in pair]]


def cached_norm(case, name, stack):
    """A stack of parts of the residual stream, centred and divided by the whole's scale."""
    return (stack - stack.mean(-1, keepdim=True)) / case.plain_clean[f"{name}.hook_scale"]


def directions(case, tokens):
    return case.plain.weights["unembed.W_U"].T[tokens]


@pytest.mark.parametrize("layer", [0, 1, 2, None])
def test_components_sum_to_the_residual_stream(case, layer):
    stack, labels = case.clean_cache.decompose_resid(layer, return_labels=True)
    n_layers = 2 if layer is None else layer
    close(stack, plain(case, *component_names(n_layers)))
    assert labels[:2] == ["embed", "pos_embed"] and len(labels) == 2 + 2 * n_layers
    into = f"blocks.{layer}.hook_resid_pre" if layer in (0, 1) else "blocks.1.hook_resid_post"
    close(stack.sum(0), case.plain_clean[into])


def test_components_of_the_mlp_input_under_its_norm(case):
    stack = case.clean_cache.decompose_resid(1, mlp_input=True, apply_ln=True)
    names = [*component_names(1), "blocks.1.hook_attn_out"]
    close(stack, cached_norm(case, "blocks.1.ln2", plain(case, *names)))


def test_accumulated_residual(case):
    stack, labels = case.clean_cache.accumulated_resid(incl_mid=True, return_labels=True)
    names = ["blocks.0.hook_resid_pre", "blocks.0.hook_resid_mid", "blocks.1.hook_resid_pre",
             "blocks.1.hook_resid_mid", "blocks.1.hook_resid_post"]  # fmt: skip
    close(stack, plain(case, *names))
    assert labels == ["0_pre", "0_mid", "1_pre", "1_mid", "final_post"]
    normed = case.clean_cache.accumulated_resid(apply_ln=True)[-1]
    close(normed, case.plain_clean["ln_final.hook_normalized"])


def test_head_results_equal_hook_result_and_sum_to_the_output(case):
    model = case.model
    cache = model.run_with_cache(case.clean)[1]  # its own: the stack writes hook_result into it
    stack, labels = cache.stack_head_results(return_labels=True)
    model.set_use_attn_result(True)
    fired = model.run_with_cache(case.clean, names_filter=lambda n: "hook_result" in n)[1]
    model.set_use_attn_result(False)
    assert labels == [f"L{layer}H{head}" for layer in range(2) for head in range(3)]
    for layer in range(2):
        result = case.plain_clean[f"blocks.{layer}.attn.hook_result"]
        close(fired["result", layer], result)
        close(stack[3 * layer : 3 * layer + 3], result.permute(2, 0, 1, 3))
        bias = case.plain.weights[f"blocks.{layer}.attn.b_O"]
        close(result.sum(2) + bias, case.clean_cache["attn_out", layer])
    whole = cache.stack_head_results(incl_remainder=True, pos_slice=-1).sum(0)
    close(whole, case.plain_clean["blocks.1.hook_resid_post"][:, -1])


def test_neuron_results(case):
    stack, labels = case.clean_cache.stack_neuron_results(
        2, return_labels=True, incl_remainder=True
    )
    assert labels[0] == "L0N0" and labels[-1] == "remainder" and len(labels) == 33
    for layer in range(2):
        post = case.plain_clean[f"blocks.{layer}.mlp.hook_post"]
        weight = case.plain.weights[f"blocks.{layer}.mlp.W_out"]
        for neuron in (0, 7, 15):
            expected = post[..., neuron, None] * weight[neuron]
            close(stack[16 * layer + neuron], expected)
    close(stack.sum(0), case.plain_clean["blocks.1.hook_resid_post"])


@pytest.mark.parametrize("layer", [1, 2])
@pytest.mark.parametrize("expand", [True, False])
def test_full_decomposition_sums_to_the_residual_stream(case, layer, expand):
    cache = case.model.run_with_cache(case.clean)[1]
    stack, labels = cache.get_full_resid_decomposition(
        layer, expand_neurons=expand, return_labels=True
    )
    assert len(labels) == len(stack) == layer * (3 + (16 if expand else 1)) + 3
    close(stack.sum(0), case.plain_clean[f"blocks.{layer - 1}.hook_resid_post"])


def test_full_decomposition_of_an_mlp_input(case):
    cache = case.model.run_with_cache(case.clean)[1]
    stack = cache.get_full_resid_decomposition(1, mlp_input=True)
    close(stack.sum(0), case.plain_clean["blocks.1.hook_resid_mid"])


def test_norm_of_a_stack_sums_to_the_normalised_stream(case):
    stack = case.clean_cache.apply_ln_to_stack(plain(case, *component_names(2)))
    whole = stack.sum(0)
    if "ln_final.w" in case.plain.weights:
        whole = whole * case.plain.weights["ln_final.w"] + case.plain.weights["ln_final.b"]
    close(whole, case.plain_clean["ln_final.hook_normalized"])


def test_logit_attributions_sum_to_the_logit_difference(case):
    """Exactly where LayerNorm is folded; else by the definition, which leaves ``w`` out."""
    stack = case.clean_cache.decompose_resid()
    right, wrong = torch.tensor([3, 20]), torch.tensor([11, 5])
    found = case.clean_cache.logit_attrs(
        stack[..., -1, :], right, wrong, pos_slice=-1, has_batch_dim=True
    )
    normed = cached_norm(case, "ln_final", plain(case, *component_names(2)))[..., -1, :]
    direction = directions(case, right) - directions(case, wrong)
    close(found, (normed * direction).sum(-1))
    if case.model.config.ln_folded:
        rows = torch.arange(2)
        logits = case.plain.run(case.clean)[:, -1] - case.plain.weights["unembed.b_U"]
        close(found.sum(0), logits[rows, right] - logits[rows, wrong])


@pytest.mark.parametrize("unit", ["component", "layer", "head"])
def test_direct_logit_attribution(case, unit):
    found = direct_logit_attribution(
        case.model, case.clean, answer_tokens=3, incorrect_tokens=11, unit=unit
    )
    direction = directions(case, 3) - directions(case, 11)
    last = case.plain_clean["blocks.1.hook_resid_post"]
    total = (cached_norm(case, "ln_final", last)[:, -1] * direction).sum(-1)
    assert len(found.labels) == len(found.attribution)
    if unit == "layer":
        close(found.attribution[-1], total)
        return
    close(found.attribution.sum(0), total)
    if unit == "head":
        result = case.plain_clean["blocks.0.attn.hook_result"][:, -1, 1]
        scale = case.plain_clean["ln_final.hook_scale"][:, -1]
        part = (result - result.mean(-1, keepdim=True)) / scale
        close(found.attribution[1], (part * direction).sum(-1))


def test_logit_lens(case):
    found = logit_lens(case.model, case.clean, incl_mid=True, positions=None)
    weights = case.plain.weights
    names = ["blocks.0.hook_resid_pre", "blocks.0.hook_resid_mid", "blocks.1.hook_resid_pre",
             "blocks.1.hook_resid_mid", "blocks.1.hook_resid_post"]  # fmt: skip
    for index, name in enumerate(names):
        normed = case.plain._norm("ln_final", case.plain_clean[name], untouched)
        expected = normed @ weights["unembed.W_U"] + weights["unembed.b_U"]
        close(found.values[index].double(), expected, 1e-5)
    close(found.values[-1].double(), case.plain.run(case.clean), 1e-5)


def test_logit_lens_of_chosen_tokens_and_ranks(case):
    found = logit_lens(case.clean_cache, targets=[3, 11], positions=-1)
    logits = case.plain.run(case.clean)[:, -1]
    close(found.values[-1].double(), logits[:, [3, 11]], 1e-5)
    rank = (logits > logits[:, [3]]).sum(-1)
    assert torch.equal(found.rank_trajectory(3)[-1].long().cpu(), rank)


def test_readout_of_a_vector(case):
    vector = case.plain_clean["blocks.0.hook_resid_mid"][0, 2]
    found = logit_readout(case.model, vector, vocab=[4, 5])
    normed = case.plain._norm("ln_final", vector, untouched)
    expected = normed @ case.plain.weights["unembed.W_U"] + case.plain.weights["unembed.b_U"]
    close(found.values.double(), expected[[4, 5]], 1e-5)


def test_cache_slices_and_moves(case):
    one = case.model.run_with_cache(case.clean)[1].apply_slice_to_batch_dim(1)
    close(one["q", 0], case.plain_clean["blocks.0.attn.hook_q"][1])
    close(one.decompose_resid().sum(0), case.plain_clean["blocks.1.hook_resid_post"][1])
    stacked = case.clean_cache.stack_activation("pattern")
    close(stacked[1], case.plain_clean["blocks.1.attn.hook_pattern"])
