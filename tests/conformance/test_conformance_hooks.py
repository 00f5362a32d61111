"""Hook points: which fire, in which shape, and that looking changes nothing."""

import re

import pytest
import torch

from mechbench.models.hook_axes import hook_axes
from mechbench.models.hooks import SWITCHES

# Reading these leaves the fused LayerNorm or SDPA for the explicit form, which agrees to rounding.
SWITCHING_PATH = {"hook_scale", "hook_normalized", "hook_attn_scores", "hook_pattern"}

SPLIT = {"use_split_qkv_input", "use_attn_in"}


def leaf(name):
    return name.rsplit(".", 1)[-1]


def sizes(model, spec):
    cfg = model.cfg
    return dict(
        batch=3, pos=9, query=9, key=9, one=1, head=cfg.n_heads, d_model=cfg.d_model,
        kv_head=cfg.n_key_value_heads or cfg.n_heads, d_head=cfg.d_head, d_mlp=cfg.d_mlp,
        **spec.axis_sizes(model.config),
    )  # fmt: skip


def axes(name, spec):
    """The axes of a hook point: those of the variant's own table, else of the common one."""
    words = hook_axes(name, spec)
    assert words, f"{name}: add its shape to the spec's hook_shapes"
    return words.split()


def switch(model, on, *switches):
    for name in switches:
        getattr(model, f"set_{name}")(on)


def identity(value, hook):
    return value.clone()


def test_declared_hook_points_fire_and_no_others(model, run, tokens):
    declared = set(model.hook_dict)
    plain = {name for name in declared if leaf(name) not in SWITCHES}
    assert set(run(tokens[0])[1]) == plain
    wanted = {SWITCHES[leaf(name)] for name in declared - plain}
    fired = set(plain)
    for exclusive in SPLIT & wanted or [None]:
        together = (wanted - SPLIT) | ({exclusive} - {None})
        switch(model, True, *together)
        fired |= set(run(tokens[0])[1])
        switch(model, False, *together)
    assert fired == declared


def test_shapes_are_those_of_the_table(model, spec, run, tokens):
    size = sizes(model, spec)
    switches = sorted({SWITCHES[leaf(name)] for name in model.hook_dict if leaf(name) in SWITCHES})
    for group in ([s for s in switches if s != "use_attn_in"], ["use_attn_in"]):
        group = [s for s in group if s in switches]
        plain = run(tokens[0])[1]
        switch(model, True, *group)
        cache = dict(run(tokens[0])[1].items()) | dict(plain.items())
        switch(model, False, *group)
        for name, value in cache.items():
            expected = tuple(size[axis] for axis in axes(name, spec))
            assert tuple(value.shape) == expected, name


def test_an_identity_hook_changes_nothing(model, spec, tokens):
    with torch.no_grad():
        plain = model(tokens[0])
        for name in model.hook_dict:
            needed = SWITCHES.get(leaf(name))
            switch(model, True, *[needed] * bool(needed))
            before = model(tokens[0])
            after = model.run_with_hooks(tokens[0], fwd_hooks=[(name, identity)])
            switch(model, False, *[needed] * bool(needed))
            if leaf(name) in SWITCHING_PATH or re.search(spec.two_paths, name):
                torch.testing.assert_close(after, before, rtol=0, atol=1e-5, msg=name)
            else:
                assert torch.equal(after, before), name
            torch.testing.assert_close(before, plain, rtol=0, atol=1e-5, msg=name)
        assert torch.equal(model(tokens[0]), plain)


def rewritten(value, hook):
    """Another value: scaled unevenly; decisions and tokens' scores are those of another prompt.

    A decision may follow from the sign of a score, which scaling would leave alone.
    """
    if not value.is_floating_point() or value.dim() == 2:
        return value.roll(1, 0)
    if value.dim() > 1 and value.shape[-1] > 1:
        return value * torch.linspace(0.3, 1.7, value.shape[-1])
    return value * 1.5


def test_every_hook_point_is_on_the_path(model, tokens):
    """Writing a different value moves the logits: no hook point is a dead copy."""
    with torch.no_grad():
        for name in model.hook_dict:
            needed = SWITCHES.get(leaf(name))
            switch(model, True, *[needed] * bool(needed))
            before = model(tokens[0])

            after = model.run_with_hooks(tokens[0], fwd_hooks=[(name, rewritten)])
            switch(model, False, *[needed] * bool(needed))
            assert (after - before).abs().max() > 1e-4, name


def test_materialised_attention_equals_the_fused_kernel(model, tokens):
    names = [name for name in model.hook_dict if leaf(name) == "hook_pattern"]
    if not names:
        pytest.skip("the variant has no attention pattern")
    model.double()
    fused, explicit = {}, {}

    def keep(cache):
        def hook(value, hook):
            cache[hook.name] = value

        return lambda name: leaf(name) == "hook_z", hook

    with torch.no_grad():
        one = model.run_with_hooks(tokens[0], fwd_hooks=[keep(fused)])
        read = [(name, identity) for name in names]
        two = model.run_with_hooks(tokens[0], fwd_hooks=[keep(explicit), *read])
        cache = model.run_with_cache(tokens[0], names_filter=names)[1]
    torch.testing.assert_close(one, two, rtol=0, atol=1e-11)
    for name in fused:
        torch.testing.assert_close(fused[name], explicit[name], rtol=0, atol=1e-11)
    for name in names:
        sums = cache[name].sum(-1)
        torch.testing.assert_close(sums, torch.ones_like(sums), rtol=0, atol=1e-11)


@pytest.mark.parametrize("where", ["in the body", "in a hook"])
def test_hooks_are_gone_after_an_exception(model, tokens, where):
    name = next(iter(model.hook_dict))

    def fail(value, hook):
        raise RuntimeError("stop")

    before = model(tokens[0])
    with pytest.raises(RuntimeError, match="stop"):
        if where == "in a hook":
            model.run_with_hooks(tokens[0], fwd_hooks=[(name, fail)])
        else:
            with model.hooks([(name, fail)], [(name, fail)]):
                raise RuntimeError("stop")
    assert not model.list_hooks() and model.context_level == 0
    assert torch.equal(model(tokens[0]), before)
