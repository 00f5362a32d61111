"""Attribution that is interrupted, and what it refuses."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from mechbench.discovery.attribution import attribute_edges, attribute_nodes
from mechbench.discovery.batches import prompts_and_points
from mechbench.errors import StoreError, TaskError, UnsupportedHookError
from tests.discovery.conftest import our_model


def test_an_interrupted_call_goes_on(tmp_path, models, pairs, metric):
    model, folder = models("gpt2"), tmp_path / "kept"
    whole = attribute_edges(model, pairs, metric, method="eap")

    def stop(done, of):
        assert of == 5
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        attribute_edges(
            model, pairs, metric, method="eap", batch_size=2, progress=stop, checkpoint=folder
        )
    assert model.cfg.use_hook_mlp_in is False
    assert all(weight.requires_grad for weight in model.parameters())
    seen = []
    resumed = attribute_edges(
        model,
        pairs,
        metric,
        method="eap",
        batch_size=1,
        progress=lambda done, of: seen.append(done),
        checkpoint=folder,
    )
    assert seen == [2, 3, 4, 5] and len(list(folder.iterdir())) == 4
    torch.testing.assert_close(resumed.scores, whole.scores, rtol=0, atol=1e-12)
    torch.testing.assert_close(resumed.clean, whole.clean, rtol=0, atol=1e-12)
    again = attribute_edges(model, pairs, metric, method="eap", checkpoint=folder)
    assert torch.equal(again.scores, resumed.scores)  # nothing was computed again


def test_the_folder_of_other_work_is_refused(tmp_path, models, pairs, metric):
    model = models("gpt2")
    attribute_edges(model, pairs, metric, method="eap", checkpoint=tmp_path)
    with pytest.raises(StoreError, match="written by other work"):
        attribute_edges(model, pairs, metric, method="clean-corrupted", checkpoint=tmp_path)
    with pytest.raises(StoreError, match="written by other work"):
        attribute_nodes(model, pairs, metric, method="nap", checkpoint=tmp_path)
    other = replace(pairs, corrupt=pairs.corrupt.flip(0))
    with pytest.raises(StoreError, match="written by other work"):
        attribute_edges(model, other, metric, method="eap", checkpoint=tmp_path)
    next(tmp_path.iterdir()).write_bytes(b"cut off")
    with pytest.raises(StoreError, match="cannot be read"):
        attribute_edges(model, pairs, metric, method="eap", checkpoint=tmp_path)


class Flat:
    """A metric whose values are cut off from the logits."""

    name, units, vocab = "flat", "logits", None

    def __init__(self, positions):
        self.positions = positions

    def __call__(self, logits):
        return logits.argmax(-1).to(logits.dtype)

    def to(self, device):
        return self


def test_a_model_or_metric_without_gradients(models, pairs, metric):
    with pytest.raises(UnsupportedHookError, match="metric without a gradient"):
        attribute_edges(models("gpt2"), pairs, Flat(metric.positions))
    model = our_model()
    packed = nn.Parameter(torch.zeros(3, dtype=torch.int8), requires_grad=False)
    model.register_parameter("packed", packed)
    with pytest.raises(UnsupportedHookError, match=r"quantised weights \(int8\)"):
        attribute_edges(model, pairs, metric)


@pytest.mark.parametrize("score", [attribute_edges, attribute_nodes])
def test_a_metric_that_never_changes(score, models, pairs, metric):
    same = replace(pairs, corrupt=pairs.clean)
    with pytest.raises(TaskError, match="all 5 prompts, so no edge has an effect"):
        score(models("gpt2"), same, metric)


def test_blocks_that_do_not_add_up(pairs, metric):
    model = our_model()
    undeclared = replace(model.capabilities, additive_heads=False)
    model.capabilities = undeclared
    attribute_edges(model, pairs, metric)  # measured, and they do
    model.blocks[1].hook_attn_out.add_hook(lambda tensor, hook: 2 * tensor, is_permanent=True)
    with pytest.raises(UnsupportedHookError, match="do not add up to its residual stream"):
        attribute_edges(model, pairs, metric)
    model.reset_hooks(including_permanent=True)
    model.blocks[1].attn.hook_k.add_hook(lambda tensor, hook: 2 * tensor, is_permanent=True)
    with pytest.raises(UnsupportedHookError, match=r"do not add up to its blocks\.1\.attn\.hook_k"):
        attribute_edges(model, pairs, metric)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "eap-ig"}, "Did you mean 'eap' or 'eap-ig-inputs'"),
        ({"steps": 0}, "steps=0 must be at least 1"),
        ({"batch_size": 0}, "batch_size=0 must be at least 1"),
    ],
)
def test_options(options, message, models, pairs, metric):
    with pytest.raises(TaskError, match=message):
        attribute_edges(models("gpt2"), pairs, metric, **options)


def test_batches_fit_the_memory(monkeypatch):
    model = our_model()
    free = "mechbench.discovery.batches._free_bytes"
    monkeypatch.setattr(free, lambda model: 10**12)
    assert prompts_and_points(model, 8, 1, None) == (256 // 8, 1)
    assert prompts_and_points(model, 8, 5, None) == (256 // 8 // 5, 5)
    monkeypatch.setattr(free, lambda model: 10**7)
    assert 1 < prompts_and_points(model, 8, 1, None)[0] < 256 // 8
    monkeypatch.setattr(free, lambda model: 1)
    assert prompts_and_points(model, 300, 5, None) == (1, 1)
    assert prompts_and_points(model, 8, 5, 3) == (1, 3)
    assert prompts_and_points(model, 8, 5, 20) == (4, 5)
