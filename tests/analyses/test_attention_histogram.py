"""Attention rows against softmax computed from the weights in float64."""

import numpy as np
import pytest
import torch

from mechbench.analyses.attention_histogram import attention_histogram
from mechbench.errors import UnsupportedHookError


def test_rows_are_softmax_of_scaled_products(model, task):
    result = attention_histogram(model, task, heads=["1.2", "2.0"])
    model = model.double()
    _, cache = model.run_with_cache(task.clean)
    x = cache["blocks.1.ln1.hook_normalized"]
    attn = model.blocks[1].attn
    for prompt in range(len(task)):
        for answer, query in enumerate(task.frame.answers):
            q = x[prompt, query] @ attn.W_Q[2] + attn.b_Q[2]
            keys = x[prompt, : query + 1] @ attn.W_K[2] + attn.b_K[2]
            expected = np.zeros(11)
            expected[: query + 1] = (keys @ q / 8**0.5).softmax(0).detach()
            found = result.pattern.isel(head=0, answer=answer, prompt=prompt)
            np.testing.assert_allclose(found, expected, atol=2e-6)


def test_rows_sum_to_one_and_the_control_leaves_the_heads_out(model, task):
    result = attention_histogram(model, task, heads=[[0, 0]])
    np.testing.assert_allclose(result.pattern.sum("key"), 1, atol=1e-5)
    _, cache = model.run_with_cache(task.clean)
    every = torch.stack([cache["pattern", i] for i in range(3)]).mean((0, 1, 2))[[8, 9, 10]]
    own = cache["pattern", 0][:, 0].mean(0)[[8, 9, 10]]
    expected = (every * 12 - own) / 11
    np.testing.assert_allclose(result.control, expected.detach(), atol=1e-6)


def test_spread_is_the_sample_standard_deviation(model, task):
    result = attention_histogram(model, task, heads=["1.1"])
    np.testing.assert_allclose(result.spread, result.pattern.values.std(-1, ddof=1), atol=1e-7)


def test_default_heads_are_the_strongest(model, task):
    assert len(attention_histogram(model, task).heads) == 4


@pytest.mark.parametrize(
    "heads, message",
    [
        (["3.0"], "has no head 3.0"),
        (["0.4"], "has no head 0.4"),
        ([8.1], "loses its last zero"),
        (["x"], "is not a head"),
        ([], "No heads were given"),
        (["1.1", "L1H1"], "Named twice"),
    ],
)
def test_impossible_heads(model, task, heads, message):
    with pytest.raises(UnsupportedHookError, match=message):
        attention_histogram(model, task, heads=heads)
