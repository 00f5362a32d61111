"""TransformerLens' ways to run a model, against the equations."""

import pytest
import torch
from transformer_lens import ActivationCache

from mechbench.errors import HookNameError, TaskError
from tests.reference.plain_gpt2 import replacing

EVERYWHERE = ["hook_embed", "hook_pos_embed", "ln_final.hook_scale", "ln_final.hook_normalized"]


def close(a, b, tolerance=1e-10):
    torch.testing.assert_close(a, b, rtol=0, atol=tolerance)


def test_logits_and_every_cached_value(case):
    logits, cache = case.model.run_with_cache(case.clean)
    assert isinstance(cache, ActivationCache)
    close(logits, case.plain.run(case.clean))
    assert set(EVERYWHERE) <= set(cache)
    for name in cache:
        close(cache[name], case.plain_clean[name])
    assert float(logits.detach().std()) > 0.5


def test_float32_agrees_with_float64(case):
    logits = case.model.float()(case.clean)
    case.model.double()
    close(logits.double(), case.plain.run(case.clean), 1e-4)


def test_short_names_of_the_cache(case):
    cache, n_layers = case.clean_cache, case.model.cfg.n_layers
    for key, name in {
        ("q", 0): "blocks.0.attn.hook_q",
        ("resid_post", -1): f"blocks.{n_layers - 1}.hook_resid_post",
        ("pattern", 1, "attn"): "blocks.1.attn.hook_pattern",
        ("attn_scores", 0): "blocks.0.attn.hook_attn_scores",
        ("pre", 1): "blocks.1.mlp.hook_pre",
        ("scale", 1, "ln2"): "blocks.1.ln2.hook_scale",
        ("normalized", 0, "ln1"): "blocks.0.ln1.hook_normalized",
        "scale": "ln_final.hook_scale",
        "embed": "hook_embed",
    }.items():
        close(cache[key], case.plain_clean[name])


@pytest.mark.parametrize(
    "names",
    [
        "blocks.1.attn.hook_z",
        ["blocks.1.attn.hook_z", "hook_embed"],
        lambda name: name.endswith("hook_z"),
    ],
    ids=["str", "list", "callable"],
)
def test_names_filter_keeps_what_it_means_and_changes_no_value(case, names):
    logits, cache = case.model.run_with_cache(case.clean, names_filter=names)
    wanted = [names] if isinstance(names, str) else names
    if callable(names):
        wanted = ["blocks.0.attn.hook_z", "blocks.1.attn.hook_z"]
    assert set(cache) == set(wanted)
    for name in wanted:
        close(cache[name], case.plain_clean[name])
    close(logits, case.plain.run(case.clean))


def test_remove_batch_dim(case):
    one = case.clean[:1]
    cache = case.model.run_with_cache(one, remove_batch_dim=True)[1]
    assert not cache.has_batch_dim
    close(cache["resid_post", 0], case.plain_clean["blocks.0.hook_resid_post"][0])
    close(cache["pattern", 0], case.plain_clean["blocks.0.attn.hook_pattern"][0])
    later = case.model.run_with_cache(one)[1].remove_batch_dim()
    close(later["resid_post", 0], cache["resid_post", 0])


def test_plain_dict_on_request(case):
    cache = case.model.run_with_cache(case.clean, return_cache_object=False)[1]
    assert type(cache) is dict
    close(cache["hook_embed"], case.plain_clean["hook_embed"])


@pytest.mark.parametrize(("stop", "layer"), [(0, 0), (1, 1), (-1, 1), (2, 2), (-2, 0)])
def test_stop_at_layer_counts_like_transformer_lens(case, stop, layer):
    resid, cache = case.model.run_with_cache(case.clean, stop_at_layer=stop)
    name = "blocks.0.hook_resid_pre" if layer == 0 else f"blocks.{layer - 1}.hook_resid_post"
    close(resid, case.plain_clean[name])
    assert not any(key.startswith(f"blocks.{layer}.") for key in cache)


@pytest.mark.parametrize("stop", [3, -3])
def test_stop_at_a_layer_that_is_not_there(case, stop):
    with pytest.raises(TaskError, match="2 blocks"):
        case.model(case.clean, stop_at_layer=stop)


@pytest.mark.parametrize("where", [-1, slice(1, 3), [0, 2]])
def test_pos_slice(case, where):
    cache = case.model.run_with_cache(case.clean, pos_slice=where)[1]
    where = [where] if isinstance(where, int) else where  # TransformerLens keeps the axis
    close(cache["resid_mid", 1], case.plain_clean["blocks.1.hook_resid_mid"][:, where])
    close(cache["z", 1], case.plain_clean["blocks.1.attn.hook_z"][:, where])
    close(cache["pattern", 1], case.plain_clean["blocks.1.attn.hook_pattern"][:, :, where])


def test_pos_slice_refuses_to_slice_heads(case):
    case.model.set_use_split_qkv_input(True)
    try:
        with pytest.raises(TaskError, match="pos_slice"):
            case.model.run_with_cache(case.clean, pos_slice=-1)
    finally:
        case.model.set_use_split_qkv_input(False)


def test_gradients_of_the_loss(case):
    """Each cached gradient equals central differences of the plain loss along a direction."""
    loss, cache = case.model.run_with_cache(case.clean, return_type="loss", incl_bwd=True)
    case.model.zero_grad()

    def plain_loss(edit):
        logprobs = case.plain.run(case.clean, edit).log_softmax(-1)[:, :-1]
        return -logprobs.gather(-1, case.clean[:, 1:, None]).mean()

    close(loss.detach(), plain_loss(lambda name, value: value))
    for name in ["hook_embed", "blocks.0.attn.hook_pattern", "blocks.1.attn.hook_z",
                 "blocks.0.attn.hook_k", "blocks.0.hook_resid_mid", "blocks.1.mlp.hook_post",
                 "ln_final.hook_normalized"]:  # fmt: skip
        value, gradient = case.plain_clean[name], cache[f"{name}_grad"]
        direction = torch.randn(value.shape, dtype=torch.float64)
        step = 1e-5
        up = plain_loss(replacing(name, value + step * direction))
        down = plain_loss(replacing(name, value - step * direction))
        close((gradient * direction).sum(), (up - down) / (2 * step), 1e-8)
        assert gradient.abs().max() > 1e-4


def test_run_with_hooks_and_hooks_write(case):
    name = "blocks.0.attn.hook_z"
    new = case.plain_corrupt[name]

    def write(value, hook):
        assert hook.name == name
        return new

    expected = case.plain.run(case.clean, replacing(name, new))
    close(case.model.run_with_hooks(case.clean, fwd_hooks=[(name, write)]), expected)
    with case.model.hooks(fwd_hooks=[(lambda n: n == name, write)]) as hooked:
        close(hooked(case.clean), expected)
    case.model.add_hook(name, write)
    close(case.model(case.clean), expected)
    case.model.reset_hooks()
    close(case.model(case.clean), case.plain.run(case.clean))
    assert (expected - case.plain.run(case.clean)).abs().max() > 0.05


@pytest.mark.parametrize(
    "name",
    ["hook_embed", "hook_pos_embed", "blocks.1.hook_resid_pre", "blocks.0.hook_resid_mid",
     "blocks.0.hook_attn_out", "blocks.0.hook_mlp_out", "blocks.0.attn.hook_q",
     "blocks.0.attn.hook_k", "blocks.0.attn.hook_v", "blocks.0.attn.hook_z",
     "blocks.0.attn.hook_pattern", "blocks.0.attn.hook_attn_scores", "blocks.0.mlp.hook_pre",
     "blocks.0.mlp.hook_post", "blocks.0.hook_mlp_in", "blocks.0.attn.hook_k_input",
     "blocks.0.attn.hook_result", "ln_final.hook_scale", "blocks.1.hook_resid_post"],
)  # fmt: skip
@torch.no_grad()
def test_in_place_hooks_reach_this_value_and_no_weight(case, name):
    """A hook that writes in place, on one prompt: nothing but the named value may change."""
    before = {key: value.clone() for key, value in case.model.state_dict().items()}

    def halve(value, hook):
        value[:, -1, ..., ::2] *= 0.5

    def plain_halve(at, value):
        if at == name:
            value = value.clone()
            value[:, -1, ..., ::2] *= 0.5
        return value

    switches = {"hook_mlp_in": case.model.set_use_hook_mlp_in,
                "hook_k_input": case.model.set_use_split_qkv_input,
                "hook_result": case.model.set_use_attn_result}  # fmt: skip
    switch = switches.get(name.rsplit(".", 1)[-1], lambda on: None)
    switch(True)
    logits = case.model.run_with_hooks(case.clean[:1], fwd_hooks=[(name, halve)])
    switch(False)
    expected = case.plain.run(case.clean[:1], plain_halve)
    close(logits, expected)
    assert (expected - case.plain.run(case.clean[:1])).abs().max() > 1e-3
    for key, value in case.model.state_dict().items():
        assert torch.equal(value, before[key]), key


NOTHING = lambda value, hook: None  # noqa: E731
TYPO = "blocks.0.attn.hook_zz"


@pytest.mark.parametrize(
    "call",
    [
        lambda m, x: m.run_with_cache(x, names_filter=TYPO),
        lambda m, x: m.run_with_cache(x, names_filter=["hook_embed", TYPO]),
        lambda m, x: m.run_with_hooks(x, fwd_hooks=[(TYPO, NOTHING)]),
        lambda m, x: m.run_with_hooks(x, bwd_hooks=[(TYPO, NOTHING)], reset_hooks_end=False),
        lambda m, x: m.hooks([(TYPO, NOTHING)]).__enter__(),
        lambda m, x: m.add_hook(TYPO, NOTHING),
        lambda m, x: m.add_perma_hook(TYPO, NOTHING),
    ],
)
def test_a_name_that_is_no_hook_point_names_the_nearest(case, call):
    with pytest.raises(HookNameError, match=r"hook_zz.*'blocks\.0\.attn\.hook_z'"):
        call(case.model, case.clean)
    assert not case.model.list_hooks()


@pytest.mark.parametrize(
    "call",
    [
        lambda m, x: m.run_with_cache(x, names_filter=lambda name: "hook_zz" in name),
        lambda m, x: m.run_with_cache(x, names_filter=[]),
        lambda m, x: m.run_with_hooks(x, fwd_hooks=[(lambda name: name == TYPO, NOTHING)]),
        lambda m, x: m.add_hook(lambda name: False, NOTHING),
    ],
)
def test_a_filter_that_matches_nothing(case, call):
    with pytest.raises(HookNameError, match="matches none|empty list"):
        call(case.model, case.clean)


@pytest.mark.parametrize(
    "call",
    [
        lambda m, x: m.run_with_cache(x, names_filter="blocks.0.attn.hook_result"),
        lambda m, x: m.run_with_cache(x, names_filter=lambda name: "hook_result" in name),
        lambda m, x: m.run_with_hooks(x, fwd_hooks=[("blocks.0.attn.hook_result", NOTHING)]),
        lambda m, x: m.add_hook("blocks.1.attn.hook_result", NOTHING),
    ],
)
def test_a_hook_point_that_is_switched_off_names_its_switch(case, call):
    with pytest.raises(HookNameError, match=r"set_use_attn_result\(True\)"):
        call(case.model, case.clean)


def test_a_name_that_is_a_module_but_no_hook_point(case):
    with pytest.raises(HookNameError, match="blocks.0.attn"):
        case.model.run_with_hooks(case.clean, fwd_hooks=[("blocks.0.attn", NOTHING)])


FLAGS = ["use_attn_result", "use_split_qkv_input", "use_hook_mlp_in", "use_attn_in"]


@pytest.mark.parametrize("flag", FLAGS)
def test_flags_add_their_hook_points_and_change_no_logit(case, flag):
    model = case.model.float()
    try:
        before = model(case.clean)
        names = set(model.run_with_cache(case.clean)[1])
        getattr(model, f"set_{flag}")(True)
        assert getattr(model.cfg, flag)
        torch.testing.assert_close(model(case.clean), before, rtol=0, atol=1e-5)
        cache = model.run_with_cache(case.clean)[1]
        added = set(cache) - names
        assert added and all(name.startswith("blocks.") for name in added)
        getattr(model, f"set_{flag}")(False)
        assert torch.equal(model(case.clean), before)
        assert set(model.run_with_cache(case.clean)[1]) == names
    finally:
        model.double()
    getattr(model, f"set_{flag}")(True)
    close(model(case.clean), case.plain.run(case.clean))
    getattr(model, f"set_{flag}")(False)


def test_flags_that_exclude_each_other(case):
    case.model.set_use_attn_in(True)
    with pytest.raises(TaskError, match="exclude each other"):
        case.model.set_use_split_qkv_input(True)
    case.model.set_use_attn_in(False)
    case.model.set_use_split_qkv_input(True)
    with pytest.raises(TaskError, match="exclude each other"):
        case.model.set_use_attn_in(True)
    case.model.set_use_split_qkv_input(False)
