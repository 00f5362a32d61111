"""Head and component reading asks nothing of a task but its pairs and its metric."""

from importlib import import_module

import pytest
import transformers

from mechbench.analyses.registry import ANALYSES
from mechbench.errors import UnsupportedHookError
from mechbench.figures.render_mpl import to_mpl
from mechbench.models.loading import load_model
from mechbench.results.io import load_result
from mechbench.tasks.induction import induction
from tests.analyses.reading_models import bridged, numbers

READING = {
    "head_scores": {"n": 4, "half_length": 6, "n_random": 3},
    "head_circuits": {"heads": ["1.2", "0.3"], "n_random": 3},
    "composition_scores": {"n_random": 3},
    "direct_attribution": {},
    "logit_lens": {},
}


def run(name, model, task):
    return getattr(import_module(ANALYSES[name]), name)(model, task, **READING[name])


def draw(name, result):
    figures = import_module(f"mechbench.figures.{name}")
    return to_mpl(getattr(figures, f"{name}_figure")(result), "text")


@pytest.fixture(scope="module")
def trained():
    return load_model("acronyms-gpt2")


@pytest.mark.parametrize("name", READING)
def test_the_induction_task_on_the_bundled_model(name, trained, tmp_path):
    result = run(name, trained, induction(trained.tokenizer, n=4, half_length=6))
    result.save(tmp_path)
    assert load_result(tmp_path).identical(result)
    assert result.provenance.task == "induction"
    draw(name, result)


@pytest.mark.parametrize("name", READING)
def test_grouped_heads_of_a_bridged_model(name, tmp_path):
    model = bridged(tmp_path)
    draw(name, run(name, model, numbers(model)))


@pytest.mark.parametrize("name", READING)
def test_a_model_without_attention_is_refused(name, tmp_path):
    config = transformers.MambaConfig(vocab_size=64, hidden_size=32, num_hidden_layers=2)
    transformers.MambaForCausalLM(config).save_pretrained(tmp_path)
    model = load_model(tmp_path, device="cpu")
    with pytest.raises(UnsupportedHookError):
        run(name, model, numbers(model))


@pytest.mark.parametrize("name", READING)
def test_progress_ends_at_its_total(name, trained):
    seen = []
    function = getattr(import_module(ANALYSES[name]), name)
    task = induction(trained.tokenizer, n=3, half_length=6)
    function(trained, task, progress=lambda *step: seen.append(step), **READING[name])
    assert seen[-1][0] == seen[-1][1] and [s[0] for s in seen] == sorted(s[0] for s in seen)
