"""The page Heads and tokens: its four views, their links, bad parameters, the copied scripts."""

import numpy as np
import pytest

from apps.common.text import plain
from mechbench.results.store import RunStore

VIEWS = ("attention", "circuits", "attribution", "lens")
SMALL = {"model": "acronyms-gpt2", "n": 3}


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """The folder of a store with a finished sweep of heads, and its run."""
    from apps.common.specs import one_step
    from mechbench.experiments.runner import run_experiment

    store = RunStore(tmp_path_factory.mktemp("heads") / "runs")
    task = {"name": "acronyms", "n": 3, "seed": 0}
    params = {"control": False}
    spec = one_step("patching", "A sweep", "acronyms-gpt2", task, "patch_sweep", **params)
    return store.root, run_experiment(spec, store)


def fine(shown):
    return not shown.exception and not shown.error and not shown.warning


def scripts(shown, analysis):
    return [c.value for c in shown.code if f"{analysis}(" in c.value and "import" in c.value]


def ran(script, name):
    names: dict = {}
    exec(script, names)
    return names[name]


@pytest.mark.parametrize("view", VIEWS)
def test_every_view(page, tmp_path, view):
    shown = page(tmp_path, "heads", view=view, **SMALL)
    assert fine(shown), (shown.exception, shown.error, shown.warning)
    assert shown.query_params["view"] == view
    analysis = {
        "attention": "attention_view",
        "circuits": "head_circuits",
        "attribution": "direct_attribution",
        "lens": "lens_view",
    }[view]
    assert scripts(shown, analysis)


def test_heads_come_by_direct_attribution_or_by_the_sweep(page, swept):
    from mechbench import load_model
    from mechbench.analyses.direct_attribution import direct_attribution
    from mechbench.tasks.acronyms import acronyms

    root, run = swept
    shown = page(root, "heads", **SMALL)
    model = load_model("acronyms-gpt2")
    heads = direct_attribution(model, acronyms(model.tokenizer, n=3, seed=0)).heads
    strongest = np.unravel_index(
        np.abs(heads.sel(estimate="mean").values).argmax(), heads.shape[1:]
    )
    label = f"{strongest[0]}.{strongest[1]}"
    assert shown.selectbox(key="url-head").value == label == shown.query_params["head"]
    assert shown.selectbox(key="url-head").options[0].startswith(f"{label}: ")
    assert any("direct attribution" in c.value for c in shown.caption)
    patched = page(root, "heads", run=run.run_id, **SMALL)
    means = np.abs(run.load_result("patch-sweep").summary.sel(estimate="mean").values)
    layer, head = np.unravel_index(int(means.argmax()), means.shape)
    assert fine(patched) and patched.selectbox(key="url-head").value == f"{layer}.{head}"
    assert any(run.run_id in c.value.replace("\\", "") for c in patched.caption)


def test_the_copied_script_of_attention_gives_the_figures_array(page, tmp_path):
    query = {"head": "2.3", "prompt": 1, "of": "corrupted", "token": 4, "figure": 1}
    shown = page(tmp_path, "heads", **SMALL, **query)
    assert fine(shown) and shown.selectbox(key="url-head").value == "2.3"
    from mechbench.figures.attention_view import attention_view_figure

    (script,) = scripts(shown, "attention_view")
    assert "layer=2" in script and "prompt=1" in script and "'corrupted'" in script
    result = ran(script, "attention_view_result")
    figure = attention_view_figure(result, heads=("2.3",))
    assert any(plain(figure.caption) == c.value for c in shown.caption)
    assert any(plain(figure.title) == s.value for s in shown.subheader)


def test_the_copied_script_of_the_lens_gives_what_the_page_shows(page, tmp_path):
    query = {"view": "lens", "stream": "1_mid", "position": 3, "answer": "letter 2"}
    shown = page(tmp_path, "heads", **SMALL, **query)
    assert fine(shown) and shown.selectbox(key="url-answer").value == "letter 2"
    from mechbench.figures.lens_view import lens_view_figure

    (script,) = scripts(shown, "lens_view")
    result = ran(script, "lens_view_result")
    figure = lens_view_figure(result, answer=1, position=3, residual="1_mid")
    assert any(plain(figure.caption) == c.value for c in shown.caption)


@pytest.mark.parametrize("between", ["answers", "prompt"])
def test_the_copied_script_of_the_circuits_gives_what_the_page_shows(page, tmp_path, between):
    query = {"view": "circuits", "head": "3.1", "between": between}
    shown = page(tmp_path, "heads", **SMALL, **query)
    assert fine(shown), (shown.exception, shown.error)
    from mechbench.figures.head_circuits import head_circuits_figure

    (script,) = scripts(shown, "head_circuits")
    figure = head_circuits_figure(ran(script, "head_circuits_result"))
    assert any(plain(figure.caption) == c.value for c in shown.caption)
    assert ("tokens=" in script) == (between == "prompt")
    table = figure.panels[4]
    assert [tuple(row) for row in shown.dataframe[0].value.values] == list(table.rows)
    composed = shown.dataframe[2].value
    assert {"3.1"} <= set(composed["from"]) | set(composed["to"]) and len(composed) == 8


def test_attribution_by_heads_and_by_layers(page, tmp_path):
    shown = page(tmp_path, "heads", view="attribution", **SMALL)
    whole = page(tmp_path, "heads", view="attribution", whole=1, **SMALL)
    assert fine(shown) and fine(whole)
    assert "heads=False" in scripts(whole, "direct_attribution")[0]
    assert any("no map of heads" in c.value for c in whole.caption)


def test_a_model_whose_heads_cannot_be_attributed(page, tmp_path):
    query = {"model": "mixed-mod", "task": "induction", "n": 3}
    shown = page(tmp_path, "heads", **query)
    assert fine(shown), [e.value for e in shown.error]
    assert any("As they come" in c.value for c in shown.caption)
    assert shown.selectbox(key="url-head").options[0] == "0.0"
    refused = page(tmp_path, "heads", view="attribution", **query)
    assert not refused.exception and "heads=False" in refused.error[0].value.replace("\\", "")
    assert fine(page(tmp_path, "heads", view="attribution", whole=1, **query))


def test_a_layer_without_attention_is_told_in_words(page, tmp_path):
    query = {"model": "mixed-yoco", "task": "induction", "n": 3}
    shown = page(tmp_path, "heads", head="0.1", **query)
    assert not shown.exception and "retention" in shown.error[0].value
    assert fine(page(tmp_path, "heads", head="3.1", **query))


@pytest.mark.parametrize(
    "bad",
    [
        {"view": "nose"},
        {"head": "9.9"},
        {"prompt": "77", "of": "half"},
        {"token": "99"},
        {"view": "lens", "stream": "9_mid", "position": "x", "answer": "letter 9"},
        {"view": "circuits", "between": "<script>"},
        {"run": "../.."},
    ],
    ids=str,
)
def test_bad_parameters_are_told_and_replaced(page, tmp_path, bad):
    shown = page(tmp_path, "heads", **SMALL, **bad)
    wrong = {k: v for k, v in bad.items() if (k, v) not in (("view", "lens"), ("view", "circuits"))}
    assert not shown.exception and not shown.error
    assert len(shown.warning) == len(wrong)


def test_what_another_model_or_task_does_not_have_is_replaced(page, tmp_path):
    shown = page(tmp_path, "heads", head="1.6", prompt=2, **SMALL)
    assert fine(shown) and shown.query_params["head"] == "1.6"
    shown.selectbox(key="url-model").set_value("mixed-gpt2")
    shown.selectbox(key="url-task").set_value("ioi")
    shown.number_input(key="url-n").set_value(2)
    shown.run()
    assert fine(shown)
    layer, head = map(int, shown.query_params["head"].split("."))
    assert head < 4 and shown.query_params["prompt"] in ("0", "1")
    lens = page(tmp_path, "heads", view="lens", answer="letter 3", position=10, **SMALL)
    lens.selectbox(key="url-model").set_value("mixed-gpt2")
    lens.selectbox(key="url-task").set_value("ioi")
    lens.run()
    assert fine(lens) and lens.query_params["answer"] == "IO"


def test_a_pin_outside_the_prompt_is_told_once(page, tmp_path):
    shown = page(tmp_path, "heads", token=99, **SMALL)
    assert len(shown.warning) == 1 and "token" not in shown.query_params
    assert fine(shown.run())
