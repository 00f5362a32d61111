"""Path patching against hooks written by hand and against TransformerLens."""

import pytest
import torch
from transformer_lens.patching import get_act_patch_direct_path

from mechbench.errors import HookNameError, UnsupportedHookError
from mechbench.interventions.path_patching import Receiver, path_patch
from tests.interventions.conftest import random_metric, random_model, random_pairs
from tests.interventions.test_engine import NO_RESTART

MODEL = random_model(seed=2)


def _read(model, logits, metric):
    logits = torch.take_along_dim(logits, metric.positions[..., None], dim=1)
    return metric(logits[..., metric.vocab])


def test_direct_paths_equal_transformer_lens():
    pairs = random_pairs(seed=4)
    metric = random_metric(pairs)
    with torch.inference_mode():
        _, clean = MODEL.run_with_cache(pairs.clean)
        _, corrupt = MODEL.run_with_cache(pairs.corrupt)
    for receiver in (Receiver(2, 1, "q"), Receiver(1, 3, "k"), Receiver(2, 0, "v")):
        # TransformerLens patches the "clean" write into the "corrupted" run: our denoising.
        swept = path_patch(MODEL, pairs, metric, receivers=[receiver], direction="denoise")
        for head in range(MODEL.cfg.n_heads):
            expected = get_act_patch_direct_path(
                MODEL,
                pairs.corrupt,
                clean,
                corrupt,
                lambda logits: _read(MODEL, logits, metric).mean(),
                src_layer=0,
                src_head=head,
                component=receiver.input,
                verbose=False,
            )[receiver.layer, receiver.head]
            found = swept.patched.sel(layer=0, head=head).mean()
            assert abs(float(found) - float(expected)) < 1e-5


@pytest.mark.parametrize("receivers", [[Receiver(2, 1, "q"), Receiver(2, 3, "v")], None])
def test_paths_through_mlps_equal_frozen_heads(receivers):
    """The textbook way: run with the sender's z changed and every other head frozen."""
    pairs = random_pairs(seed=5)
    metric = random_metric(pairs)
    swept = path_patch(MODEL, pairs, metric, receivers=receivers, through_mlps=True)
    with torch.inference_mode():
        base_logits, clean = MODEL.run_with_cache(pairs.clean)
        _, corrupt = MODEL.run_with_cache(pairs.corrupt)
    for layer in range(3):
        for head in (0, 2):
            hooks = []
            for other in range(3):

                def freeze(z, hook, other=other, layer=layer, head=head):
                    z = clean["z", other].clone()
                    if other == layer:
                        z[:, :, head] = corrupt["z", other][:, :, head]
                    return z

                hooks.append((f"blocks.{other}.attn.hook_z", freeze))
            with torch.inference_mode(), MODEL.hooks(fwd_hooks=hooks):
                logits, frozen = MODEL.run_with_cache(pairs.clean)
            if receivers is not None:
                patches = []
                for r in receivers:
                    if r.layer <= layer:
                        continue

                    def put(x, hook, r=r, frozen=frozen):
                        x = x.clone()
                        x[:, :, r.head] = frozen[hook.name][:, :, r.head]
                        return x

                    patches.append((r.site.hook_name, put))
                with torch.inference_mode():
                    logits = MODEL.run_with_hooks(pairs.clean, fwd_hooks=patches)
            found = torch.tensor(swept.patched.sel(layer=layer, head=head).values)
            expected = _read(MODEL, logits, metric)
            torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(
        torch.tensor(swept.base.values), _read(MODEL, base_logits, metric), atol=1e-5, rtol=1e-5
    )


def test_heads_that_cannot_reach_keep_the_base_value():
    pairs = random_pairs()
    swept = path_patch(MODEL, pairs, random_metric(pairs), receivers=[Receiver(1, 0, "q")])
    assert abs(swept.effect.sel(layer=[1, 2])).max() == 0
    assert abs(swept.effect.sel(layer=0)).max() > 1e-3


def test_bad_receivers(monkeypatch):
    pairs = random_pairs()
    metric = random_metric(pairs)
    with pytest.raises(HookNameError, match="'q', 'k' or 'v'"):
        path_patch(MODEL, pairs, metric, receivers=[Receiver(1, 0, "z")])
    with pytest.raises(HookNameError, match="3 layers of 4"):
        path_patch(MODEL, pairs, metric, receivers=[Receiver(1, 4, "q")])
    monkeypatch.setattr(MODEL, "capabilities", NO_RESTART)
    with pytest.raises(UnsupportedHookError, match="sweep"):
        path_patch(MODEL, pairs, metric)
