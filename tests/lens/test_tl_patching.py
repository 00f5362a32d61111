"""Every sweep of ``transformer_lens.patching``, cell by cell, against the equations."""

import itertools
from functools import partial

import pandas as pd
import pytest
import torch
from transformer_lens import patching

from tests.reference.plain_gpt2 import replacing

LAYERS, HEADS, POSITIONS = range(2), range(3), range(5)
ALL = slice(None)

# sweep -> (hook point, axes after the layer, the part of the value that a cell replaces)
SWEEPS = {
    "resid_pre": ("hook_resid_pre", [POSITIONS], lambda p: (ALL, p)),
    "resid_mid": ("hook_resid_mid", [POSITIONS], lambda p: (ALL, p)),
    "attn_out": ("hook_attn_out", [POSITIONS], lambda p: (ALL, p)),
    "mlp_out": ("hook_mlp_out", [POSITIONS], lambda p: (ALL, p)),
    "attn_head_pattern_by_pos": ("attn.hook_pattern", [HEADS, POSITIONS], lambda h, p: (ALL, h, p)),
    "attn_head_pattern_dest_src_pos": (
        "attn.hook_pattern",
        [HEADS, POSITIONS, POSITIONS],
        lambda h, q, k: (ALL, h, q, k),
    ),
    "attn_head_pattern_all_pos": ("attn.hook_pattern", [HEADS], lambda h: (ALL, h)),
}
for _name, _hook in {"out": "z", "q": "q", "k": "k", "v": "v"}.items():
    SWEEPS[f"attn_head_{_name}_all_pos"] = (
        f"attn.hook_{_hook}",
        [HEADS],
        lambda h: (ALL, ALL, h),
    )
    SWEEPS[f"attn_head_{_name}_by_pos"] = (
        f"attn.hook_{_hook}",
        [POSITIONS, HEADS],
        lambda p, h: (ALL, p, h),
    )


def plain_sweep(case, diff, sweep):
    """The metric of each prompt with one cell replaced, ``[layer *axes batch]``."""
    hook, axes, where = SWEEPS[sweep]
    sizes = [len(axis) for axis in axes]
    out = torch.zeros(len(LAYERS), *sizes, len(case.clean), dtype=torch.float64)
    for layer, *index in itertools.product(LAYERS, *axes):
        name = f"blocks.{layer}.{hook}"
        edit = replacing(name, case.plain_clean[name], where(*index))
        out[layer, *index] = diff(case.plain.run(case.corrupt, edit))
    return out


def tl_sweep(case, metric, sweep, **kwargs):
    run = getattr(patching, f"get_act_patch_{sweep}")
    with torch.no_grad():
        return run(case.model, case.corrupt, case.clean_cache, metric, **kwargs)


def mean(diff):
    return lambda logits: diff(logits).mean()


def close(a, b, tolerance=1e-5):
    """TransformerLens stores results in float32."""
    torch.testing.assert_close(a.double(), b.double(), rtol=0, atol=tolerance)


@pytest.mark.parametrize("sweep", SWEEPS)
def test_each_sweep(case, diff, sweep):
    expected = plain_sweep(case, diff, sweep).mean(-1)
    close(tl_sweep(case, mean(diff), sweep), expected)
    base = diff(case.plain.run(case.corrupt)).mean()
    assert (expected - base).abs().max() > 0.05


def test_every_head_over_all_positions(case, diff):
    parts = [f"attn_head_{part}_all_pos" for part in ("out", "q", "k", "v", "pattern")]
    expected = torch.stack([plain_sweep(case, diff, part).mean(-1) for part in parts])
    close(tl_sweep(case, mean(diff), "attn_head_all_pos_every"), expected)


def test_every_head_by_position(case, diff):
    parts = [f"attn_head_{part}_by_pos" for part in ("out", "q", "k", "v", "pattern")]
    each = [plain_sweep(case, diff, part).mean(-1) for part in parts]
    expected = torch.stack([*each[:4], each[4].transpose(1, 2)])
    close(tl_sweep(case, mean(diff), "attn_head_by_pos_every"), expected)


def test_every_block_part(case, diff):
    parts = ["resid_pre", "attn_out", "mlp_out"]
    expected = torch.stack([plain_sweep(case, diff, part).mean(-1) for part in parts])
    close(tl_sweep(case, mean(diff), "block_every"), expected)


def test_values_per_prompt_and_their_statistics(case, diff):
    expected = plain_sweep(case, diff, "resid_pre")
    base = diff(case.plain.run(case.corrupt))
    found = tl_sweep(case, diff, "resid_pre", reduce="none", baseline=True)
    close(found.values, expected)
    close(found.baseline, base)
    close(found.effect(), expected - base)
    close(found.stderr(), expected.std(-1) / len(base) ** 0.5)
    target = diff(case.plain.run(case.clean))
    close(found.normalized(target), (expected - base) / (target - base), 1e-4)


def test_two_metrics_at_once(case, diff):
    metrics = {"diff": mean(diff), "third": lambda logits: logits[:, -1, 3].mean()}
    found = tl_sweep(case, metrics, "attn_out")
    close(found["diff"].values, plain_sweep(case, diff, "attn_out").mean(-1))
    third = plain_sweep(case, lambda logits: logits[:, -1, 3], "attn_out").mean(-1)
    close(found["third"].values, third)


def test_generic_patch_over_chosen_rows(case, diff):
    rows = pd.DataFrame({"layer": [1, 0], "pos": [4, 2], "head": [2, 0]})
    run = partial(
        patching.generic_activation_patch,
        patch_setter=patching.layer_pos_head_vector_patch_setter,
        activation_name="z",
        index_df=rows,
    )
    with torch.no_grad():
        found = run(case.model, case.corrupt, case.clean_cache, mean(diff))
    every = plain_sweep(case, diff, "attn_head_out_by_pos").mean(-1)
    close(found, torch.stack([every[1, 4, 2], every[0, 2, 0]]))


def test_sweeps_with_gradients_on(case, diff):
    run = patching.get_act_patch_mlp_out
    found = run(case.model, case.corrupt, case.clean_cache, mean(diff))
    close(found, plain_sweep(case, diff, "mlp_out").mean(-1))
