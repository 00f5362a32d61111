"""The analysis of path patching against edges measured one by one, and its reading of receivers."""

import numpy as np
import pytest

from mechbench.analyses.edge_patching import edge_patching
from mechbench.analyses.path_patching import path_patching
from mechbench.errors import HookNameError


@pytest.mark.parametrize("receiver, reader", [("logits", "logits"), ("2.1.k", "a2.h1<k>")])
def test_direct_paths_are_edges(model, task, receiver, reader):
    result = path_patching(model, task, receivers=[receiver], control=False, seed=1)
    heads = [(layer, head) for layer in range(2) for head in range(4)]
    names = [f"a{layer}.h{head}->{reader}" for layer, head in heads]
    edges = edge_patching(model, task, edges=names, seed=1)
    for (layer, head), name in zip(heads, names, strict=True):
        effect = result.effect.sel(layer=layer, head=head).mean("answer")
        np.testing.assert_allclose(effect, -edges.per_prompt.sel(edge=name), atol=1e-5)
    assert abs(result.effect).max() > 1e-3
    assert result.effect.dims == ("answer", "layer", "head", "prompt")


def test_several_receivers_and_the_control(model, task):
    seen = []
    result = path_patching(
        model,
        task,
        receivers=["2.1.k", "1.0.q"],
        through_mlps=True,
        progress=lambda *at: seen.append(at),
    )
    assert not result.effect.sel(layer=2).any() and result.effect.sel(layer=1).any()
    assert seen[-1] == (24, 24)
    assert result.control.dims == ("estimate", "answer", "layer", "head")
    assert not np.allclose(result.control, result.summary)


def test_receivers_that_cannot_be_read(model, task):
    for bad in (["8.6"], ["logits", "1.0.q"], ["1.0.z"]):
        with pytest.raises(HookNameError, match="is not a receiver"):
            path_patching(model, task, receivers=bad)
    with pytest.raises(HookNameError, match="No receivers"):
        path_patching(model, task, receivers=[])
    with pytest.raises(HookNameError, match="3 layers of 4"):
        path_patching(model, task, receivers=["1.9.q"])
