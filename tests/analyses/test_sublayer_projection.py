"""Sublayer projections against a float64 loop, and on a planted circuit."""

import numpy as np
import torch

from mechbench.analyses.common.projections import READINGS, SUBLAYERS, project
from mechbench.analyses.common.steps import Steps
from mechbench.analyses.sublayer_projection import sublayer_projection
from mechbench.figures.sublayer_projection import sublayer_projection_figure
from mechbench.planted.two_hop import two_hop
from mechbench.results.io import load_result
from mechbench.tasks.two_hop_texts import Entity
from mechbench.tasks.two_hop_tokens import name_tokens
from tests.analyses.planted_queries import planted_task
from tests.analyses.two_hop_models import answerable, tiny_gpt2


def unembedded(model, vector):
    """GPT-2's final norm and unembedding in float64, from the equations."""
    x = vector.double()
    x = x - x.mean()
    x = x / (x.pow(2).mean() + model.ln_final.eps).sqrt()
    x = x * model.ln_final.w.double() + model.ln_final.b.double()
    return x @ model.W_U.double() + model.b_U.double()


@torch.no_grad()
def test_float64_loop():
    model = tiny_gpt2()
    task = answerable(model, 8)
    result = sublayer_projection(model, task)
    ids = {
        q: model.tokenizer(f" {q}")["input_ids"][0]
        for e in task.queries
        for q in (e.e2.name, e.e3.name)
    }
    for s, hook in enumerate(("hook_attn_out", "hook_mlp_out")):
        for layer in range(3):
            found = np.zeros((3, 8), dtype=bool)
            for i, row in enumerate(task.tokens_of("composition")):
                logits, cache = model.run_with_cache(row[None])
                first = int(unembedded(model, cache[f"blocks.{layer}.{hook}"][0, -1]).argmax())
                query = task.queries[i]
                wanted = (ids[query.e2.name], ids[query.e3.name], int(logits[0, -1].argmax()))
                found[:, i] = [first == token for token in wanted]
            at = {"sublayer": SUBLAYERS[s], "layer": layer, "estimate": "mean"}
            np.testing.assert_allclose(result.cells.sel(at).values[0], found.mean(1))
    share = result.share.sel(estimate="mean").values[0]
    np.testing.assert_allclose(share, (~np.isnan(result.first)).mean("prompt"))


def test_planted_head_writes_the_answer():
    """Attention of layer 2 writes the value, and nothing else does; no MLP predicts it."""
    planted = two_hop(24)
    task, _, _ = planted_task(planted)
    found = project(planted.model, task, Steps(6, None, None))
    attention, mlp = (found.first[SUBLAYERS.index(s)] for s in ("attention", "mlp"))
    e3, predicted = READINGS.index("e3"), READINGS.index("prediction")
    assert attention[e3, 2].mean() > 0.9 and attention[predicted, 2].mean() > 0.9
    assert attention[e3, :2].mean() < 0.3 and mlp[e3].mean() < 0.3
    assert found.control[SUBLAYERS.index("attention"), e3, 2].mean() < 0.1


def test_names_in_lower_case_and_without_a_space(shared_path):
    from transformers import AutoTokenizer

    gpt2 = AutoTokenizer.from_pretrained(shared_path("tokenizers/gpt2"))
    found = {gpt2.decode([i]) for i in name_tokens(gpt2, Entity("Paris", ("City of Light",)))}
    assert {"Paris", " Paris", "City", " City", " city", "city"} <= found


def test_figure_and_storage(tmp_path):
    model = tiny_gpt2()
    result = sublayer_projection(model, answerable(model, 14), labels="argmax")
    assert len(sublayer_projection_figure(result).panels) == 6
    assert load_result(result.save(tmp_path / "kept")).identical(result)
