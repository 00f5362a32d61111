"""Copy scatter against single numbers from the cache and numpy's own fit."""

import numpy as np
import pytest

from mechbench.analyses.copy_scatter import copy_scatter
from mechbench.errors import TaskError


def test_points_from_the_cache(model, task):
    result = copy_scatter(model, task, heads=["2.1", "0.3"])
    _, cache = model.double().run_with_cache(task.clean)
    for prompt, answer, word in [(0, 0, 0), (3, 2, 1), (4, 1, 2)]:
        query, key = 8 + answer, 2 + 2 * word
        where = {"head": 0, "answer": answer, "word": word, "prompt": prompt}
        expected = cache["pattern", 2][prompt, 1, query, key].item()
        np.testing.assert_allclose(result.attention.isel(where), expected, atol=1e-6)
        out = cache["z", 2][prompt, query, 1] @ model.W_O[2, 1]
        out = (out - out.mean()) * model.ln_final.w
        logits = out @ model.W_U
        letter = task.answers[prompt, word]
        expected = (logits[letter] - logits.mean()).item()
        np.testing.assert_allclose(result.written.isel(where), expected, atol=2e-5)


def test_one_line_per_head(model, task):
    result = copy_scatter(model, task, heads=["2.1", "0.3"])
    for head in range(2):
        x, y = (v.isel(head=head).values.ravel() for v in (result.attention, result.written))
        slope, intercept = np.polyfit(x, y, 1)
        mean = {"estimate": "mean"}
        np.testing.assert_allclose(result.slope.sel(mean)[head], slope, rtol=1e-3)
        np.testing.assert_allclose(
            result.intercept.sel(mean)[head], intercept, rtol=1e-3, atol=1e-4
        )
        np.testing.assert_allclose(
            result.correlation.sel(mean)[head], np.corrcoef(x, y)[0, 1], rtol=1e-3
        )


def test_one_prompt_is_too_few(model, make_task):
    with pytest.raises(TaskError, match="at least 2"):
        copy_scatter(model, make_task(n=1), heads=["0.0"])
