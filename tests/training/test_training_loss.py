"""An architecture's own training loss: logged in parts, and resumable although it draws."""

from dataclasses import replace

import pytest
import torch

from mechbench.errors import TaskError
from mechbench.models.registry import VARIANTS, variant
from mechbench.models.variants.gpt2 import GPT2
from mechbench.training.corpora import corpus_of
from mechbench.training.loop import initial_model, train
from tests.training.test_loop import interrupt_at, same_weights, without_seconds

DRAWS = ("ssa",)  # trains a sub-model, drawn for as many positions as are run


def noisy_loss(self, tokens, generator, scored=None):
    """Random tokens are left out, one layer is skipped in the first step, a penalty is added."""
    logits = self(tokens)
    kept = torch.rand(tokens[:, 1:].shape, generator=generator) < 0.5
    each = torch.nn.functional.cross_entropy(
        logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten(), reduction="none"
    )
    next_token, penalty = each[kept.flatten()].mean(), 0.01 * self.W_pos.square().sum()
    return next_token + penalty, {"next_token": next_token.detach(), "penalty": penalty.detach()}


def partial_loss(self, tokens, generator, scored=None):
    """Trains the embedding alone, so most parameters never have a gradient."""
    return self.embed.W_E[tokens].square().mean(), {}


def test_the_default_is_the_next_token_loss(tiny_recipe):
    tokenizer = tiny_recipe.load_tokenizer()
    model = initial_model(tiny_recipe, tokenizer)
    ids = torch.from_numpy(corpus_of(tiny_recipe, tokenizer).batch(0))
    loss, parts = model.training_loss(ids, torch.Generator())
    log_probs = model(ids).double().log_softmax(-1)[:, :-1]
    assert loss.item() == pytest.approx(-log_probs.gather(2, ids[:, 1:, None]).mean().item())
    assert parts == {}


def test_parts_are_logged(tiny_recipe, tmp_path, monkeypatch):
    monkeypatch.setattr(GPT2, "training_loss", noisy_loss)
    run = train(tiny_recipe, tmp_path)
    for line in run.metrics[1:]:
        assert line["loss"] == pytest.approx(line["next_token"] + line["penalty"])


@pytest.mark.parametrize("step", [1, 3])
@pytest.mark.parametrize("loss", [noisy_loss, partial_loss])
def test_interrupted_and_resumed_is_bit_identical(tiny_recipe, tmp_path, monkeypatch, loss, step):
    monkeypatch.setattr(GPT2, "training_loss", loss)
    whole = train(tiny_recipe, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(tiny_recipe, tmp_path / "parts", on_step=interrupt_at(step))
    resumed = train(tiny_recipe, tmp_path / "parts", resume=True)
    assert same_weights(whole.model.state_dict(), resumed.model.state_dict())
    assert without_seconds(whole.metrics) == without_seconds(resumed.metrics)


def test_the_seed_decides_the_draws(tiny_recipe, tmp_path, monkeypatch):
    monkeypatch.setattr(GPT2, "training_loss", noisy_loss)
    losses = [[], []]
    for seen in losses:
        train(
            tiny_recipe, tmp_path / str(len(losses[0])), on_step=lambda *a, s=seen: s.append(a[2])
        )
    assert [m["loss"] for m in losses[0]] == [m["loss"] for m in losses[1]]


@pytest.mark.parametrize("spec", VARIANTS, ids=lambda spec: spec.name)
def test_chosen_tokens_alone_are_trained(spec):
    """Whatever else an architecture adds, ``next_token`` is of the chosen tokens."""
    torch.manual_seed(0)
    model = spec.build(spec.presets["tiny"])
    draw = torch.Generator().manual_seed(3)
    ids = torch.randint(0, model.cfg.d_vocab, (4, 20), generator=draw)
    scored = torch.rand(ids.shape, generator=draw) < 0.3
    every = torch.ones_like(scored)

    def loss(scored):
        return model.training_loss(ids, torch.Generator().manual_seed(0), scored)

    try:
        found, parts = loss(scored)
    except TaskError as error:
        assert "chosen tokens alone" in str(error)
        return
    whole, _ = loss(None)
    if spec.name not in DRAWS:
        torch.testing.assert_close(loss(every)[0], whole, rtol=0, atol=1e-5)
    if parts or not model.capabilities.causal or spec.name in DRAWS:
        assert (found - whole).abs() > 1e-4
        return
    each = -model(ids).log_softmax(-1)[:, :-1].gather(2, ids[:, 1:, None])[..., 0]
    torch.testing.assert_close(found, each[scored[:, 1:]].mean())


def test_a_first_segment_without_loss_cannot_be_trained_on_chosen_tokens():
    spec = variant("lory")
    model = spec.build(replace(spec.presets["tiny"], first_segment="skip_loss"))
    ids = torch.zeros(2, 40, dtype=torch.int64)
    with pytest.raises(TaskError, match="chosen tokens alone"):
        model.training_loss(ids, torch.Generator(), torch.ones_like(ids, dtype=torch.bool))
