"""The patchscope analysis: any task, another model, a mapping, and what is refused."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from mechbench.analyses import patchscope as module
from mechbench.analyses.patchscope import patchscope
from mechbench.errors import TaskError, TokenizerError
from mechbench.figures.patchscope import patchscope_figure
from mechbench.results.io import load_result
from tests.analyses.reading_models import numbers
from tests.analyses.two_hop_models import answerable, tiny_gpt2


@pytest.fixture(scope="module")
def model():
    return tiny_gpt2()


@pytest.fixture(scope="module")
def task(model):
    return answerable(model, 8)


@torch.no_grad()
def test_lens_says_what_the_model_says_at_its_last_layer(model, task, tmp_path):
    result = patchscope(model, task)
    said = [int(model(ids[None])[0, -1].argmax()) for ids in task.tokens_of("composition")]
    answers = task.answers[:, 0].tolist()
    own = np.mean([a == b for a, b in zip(said, answers, strict=True)])
    other = np.mean([a == b for a, b in zip(said, answers[1:] + answers[:1], strict=True)])
    assert result.share.sel(estimate="mean", source_layer=2).item() == pytest.approx(own)
    assert result.control.sel(estimate="mean", source_layer=2).item() == pytest.approx(other)
    decoded = [model.tokenizer.decode([i]) for i in said[:4]]
    assert result.texts.sel(source_layer=2).values.ravel().tolist() == decoded
    assert [text.strip() for text in result.read] == list(task.texts()[:4])
    assert result.answers == tuple(f" {query.e3.name}" for query in task.queries[:4])
    assert len(patchscope_figure(result).panels) == 3
    assert load_result(result.save(tmp_path / "kept")).identical(result)


@torch.no_grad()
def test_bridge_in_place_of_the_second_hops_entity(model, task):
    """The state of the entity itself, at its own place, answers as the second hop does."""
    result = patchscope(model, task, where="t1", prompt="second_hop", source_layers=[0, 1])
    (x,) = model.tokenizer(" x")["input_ids"]
    said = []
    for i, row in enumerate(task.tokens_of("composition")):
        _, cache = model.run_with_cache(row[None])
        state = cache["blocks.1.hook_resid_post"][0, int(task.t1[i])]
        ids = task.tokens_of("second_hop")[i].clone()
        assert int(ids[-1]) == task.bridge_ids[i][0]
        ids[-1] = x

        def write(resid, hook, state=state):
            return torch.cat([resid[:, :-1], state[None, None]], 1)

        logits = model.run_with_hooks(ids[None], fwd_hooks=[("blocks.0.hook_resid_post", write)])
        said.append(int(logits[0, -1].argmax()) == int(task.answers[i]))
    cell = result.share.sel(estimate="mean", source_layer=1, target_layer=0)
    assert cell.item() == pytest.approx(np.mean(said))


def test_tasks_without_text(model):
    bare = tiny_gpt2()
    bare.tokenizer = None
    result = patchscope(bare, numbers(bare))
    assert result.texts.values.ravel()[0].startswith("#")
    with pytest.raises(TokenizerError, match="use 'lens'"):
        patchscope(bare, numbers(bare), prompt="a x", method="argmax")


def test_another_model_through_a_mapping(model, task, tmp_path, monkeypatch):
    wide = tiny_gpt2(d_model=48)
    monkeypatch.setattr(module, "load_model", lambda name: wide)
    W, b = torch.randn(32, 48), torch.randn(48)
    save_file({"W": W, "b": b}, tmp_path / "map.safetensors")
    options = {"target_model": "wide", "mapping": str(tmp_path / "map.safetensors")}
    result = patchscope(model, task, where="e1", source_layers=[1], **options)
    _, cache = model.run_with_cache(torch.stack(task.tokens_of("composition")))
    states = cache["blocks.1.hook_resid_post"][torch.arange(8), task.spans["e1"]] @ W + b
    first = wide.unembed(wide.ln_final(states[:, None]))[:, 0].argmax(-1)
    decoded = [wide.tokenizer.decode([i]) for i in first[:4].tolist()]
    assert result.texts.values.ravel().tolist() == decoded
    assert result.mapping == "map.safetensors"
    with pytest.raises(TaskError, match="mapping"):
        patchscope(model, task, target_model="wide")
    with pytest.raises(TaskError, match="takes states of width 32"):
        patchscope(wide, task, **options)
    save_file({"w": W}, tmp_path / "bad.safetensors")
    for name, message in (("bad", "W \\[d_source"), ("none", "cannot be read")):
        with pytest.raises(TaskError, match=message):
            patchscope(model, task, mapping=str(tmp_path / f"{name}.safetensors"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"where": "S2"}, "no span called 'S2'"),
        ({"method": "beam"}, "not known"),
        ({"prompt": "of e1"}, "no token ' x'"),
    ],
)
def test_refusals(model, task, options, message):
    with pytest.raises(TaskError, match=message):
        patchscope(model, task, **options)


def test_prompts_of_queries_need_queries(model):
    with pytest.raises(TaskError, match="made of two-hop queries"):
        patchscope(model, numbers(model), prompt="words")
