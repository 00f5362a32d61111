"""Entity descriptions against single hooked passes, the text rule, and a state that is planted."""

import numpy as np
import pytest
import torch

from mechbench.analyses.common.descriptions import described
from mechbench.analyses.common.target_prompts import PROMPTS, target_of
from mechbench.analyses.entity_description import entity_description
from mechbench.errors import TaskError, TokenizerError, UnsupportedHookError
from mechbench.figures.entity_description import entity_description_figure
from mechbench.results.io import load_result
from mechbench.tasks.two_hop_texts import Entity, TwoHopQuery
from tests.analyses.two_hop_models import answerable, tiny_gpt2


@pytest.fixture(scope="module")
def model():
    return tiny_gpt2()


@pytest.fixture(scope="module")
def task(model):
    return answerable(model, 8)


@torch.no_grad()
def says(model, task, prompt, where, source, layer, n_new):
    """Words of each query's continuation by plain hooks, one prompt and pair at a time."""
    said = []
    for i, row in enumerate(task.tokens_of("composition")):
        _, cache = model.run_with_cache(row[None])
        state = cache[f"blocks.{source}.hook_resid_post"][0, int(task.spans[where][i])]
        target = target_of(model, task, prompt, [layer])
        place = i % len(target.prompts)
        ids, at = target.prompts[place].tolist(), target.positions[place]

        def write(resid, hook, state=state, at=at):
            return torch.cat([resid[:, :at], state[None, None], resid[:, at + 1 :]], 1)

        for _ in range(n_new):
            hooks = [(f"blocks.{layer}.hook_resid_post", write)]
            logits = model.run_with_hooks(torch.tensor([ids]), fwd_hooks=hooks)
            ids.append(int(logits[0, -1].argmax()))
        said.append(model.tokenizer.decode(ids[-n_new:]))
    return said


@pytest.mark.parametrize("prompt", ["of e1 : e1 , x", "second_hop"])
def test_every_cell_is_a_plain_hook(model, task, prompt):
    result = entity_description(model, task, prompt=prompt, method="argmax", where=("t1", "t2"))
    for where in ("t1", "t2"):
        for source, layer in ((0, 0), (2, 0), (1, 2)):
            said = says(model, task, prompt, where, source, layer, 1)
            at = {"where": where, "source_layer": source, "target_layer": layer}
            assert result.examples.sel(at).values.tolist() == said[:4]
            for entity in ("e1", "e2", "e3"):
                names = [getattr(query, entity).name for query in task.queries]
                hits = [name == text.strip() for name, text in zip(names, said, strict=True)]
                cell = result.cells.sel({**at, "entity": entity, "estimate": "mean"})
                assert float(cell[0]) == pytest.approx(np.mean(hits))
                others = [names[j] == said[i].strip() for i, j in enumerate(task.partners.tolist())]
                control = result.control_cells.sel({**at, "entity": entity, "estimate": "mean"})
                assert float(control[0]) == pytest.approx(np.mean(others))


def test_the_lens_is_the_unembedding(model, task):
    result = entity_description(model, task, prompt="lens", method="argmax", where=("t1",))
    rows = torch.stack(task.tokens_of("composition"))
    with torch.no_grad():
        _, cache = model.run_with_cache(rows)
        for layer in range(3):
            state = cache[f"blocks.{layer}.hook_resid_post"][torch.arange(8), task.t1]
            first = model.unembed(model.ln_final(state[:, None]))[:, 0].argmax(-1)
            hits = [int(i) in ids for i, ids in zip(first, task.bridge_ids, strict=True)]
            cell = result.cells.sel(entity="e2", source_layer=layer, estimate="mean")
            assert cell.item() == pytest.approx(np.mean(hits))
    hits = result.cells.sel(entity="e2", estimate="mean").values.ravel()
    first = result.first.sel(entity="e2").values
    assert np.isnan(first).mean() == pytest.approx(
        1 - result.share.sel(entity="e2").values[0].item()
    )
    assert result.first_share.sel(entity="e2", estimate="mean").values.ravel()[0] == hits[0]


def test_samples_are_united(model, task):
    options = {"prompt": "of e1 : e1 , x", "where": ("t1",), "max_new_tokens": 4}
    options |= {"source_layers": [0, 2], "target_layers": [1]}
    one, other, both = (
        entity_description(model, task, seeds=seeds, **options) for seeds in ((0,), (5,), (0, 5))
    )
    found = [each.cells.sel(estimate="mean").values for each in (one, other, both)]
    assert (found[2] >= np.maximum(found[0], found[1])).all()
    assert both.n_samples == 2 and not one.examples.equals(other.examples)
    assert both.examples.equals(one.examples)


QUERY = TwoHopQuery(
    Entity("Imagine"), Entity("John Lennon", ("Lennon",)), Entity("Yoko Ono", ("J",)), "a", "b"
)


@pytest.mark.parametrize(
    ("text", "entity"),
    [
        (": John Lennon is a", "e2"),
        ("\n: LENNON, who", "e2"),
        (": Lennon", None),  # cut before it ends
        (": Lennonesque", None),
        ("Yoko Ono: Yoko", "e3"),
        (": Yoko Ono. Imagine: x", "e1"),  # e1 goes before the others
        (" by Lennon ", None),
        (": J ", None),  # too short an alias
    ],
)
def test_text_rule(text, entity):
    assert described(text, QUERY) == entity


def test_paper_prompts_have_a_placeholder_at_the_end(gpt2_folder):
    model = tiny_gpt2()
    model.tokenizer = gpt2_folder
    for prompt in PROMPTS:
        target = target_of(model, answerable(tiny_gpt2(), 4), prompt, [0])
        assert target.positions == [len(target.prompts[0]) - 1]
        assert gpt2_folder.decode(target.prompts[0][-1:]) == " x"


def test_words_repeat_the_tasks_entities(model, task):
    names = sorted({e.name for q in task.queries for e in (q.e1, q.e2, q.e3)})
    target = target_of(model, task, "words", [0])
    (ids,) = target.prompts
    a, b, c, x = names[:4]
    expected = f"{a} : {a} , {b} : {b} , {c} : {c} , {x} :".split()
    assert [model.tokenizer.decode([i]).strip() for i in ids.tolist()[1:]] == expected
    assert target.positions == [len(ids) - 2] and int(ids[0]) == model.tokenizer.bos_token_id


@pytest.fixture
def gpt2_folder(shared_path):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(shared_path("tokenizers/gpt2"))


def test_sets_figure_and_storage(model, tmp_path):
    task = answerable(model, 16)
    result = entity_description(
        model, task, prompt="lens", method="argmax", labels="argmax", most=6
    )
    assert set(result.counts) <= {"correct", "incorrect"} and max(result.counts.values()) <= 6
    assert result.provenance.n_prompts == sum(result.counts.values())
    figure = entity_description_figure(result)
    assert f"{result.counts['incorrect']} incorrect" in figure.caption
    assert load_result(result.save(tmp_path / "kept")).identical(result)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"where": ("t3",)}, TaskError, "t1, t2, e1, r1, r2"),
        ({"method": "beam"}, TaskError, "method='beam' is not known"),
        ({"seeds": ()}, TaskError, "at least one seed"),
        ({"prompt": "no place"}, TaskError, "has no token ' x'"),
        ({"prompt": "lens", "method": "greedy"}, TokenizerError, "argmax"),
        ({"prompt": "words", "source_layers": [3]}, UnsupportedHookError, "0 to 2"),
        ({"prompt": "words", "target_layers": [-1]}, UnsupportedHookError, "0 to 2"),
        ({"prompt": "words", "most": 0}, TaskError, "at least 1"),
        ({"prompt": "words", "labels": "guess"}, TaskError, "method='guess'"),
    ],
)
def test_refusals(model, task, options, error, message):
    with pytest.raises(error, match=message):
        entity_description(model, task, **options)
