"""Bias, chosen edits and their confusions, side effects; the shared model stays as it is."""

import json
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from apps.common.text import plain
from mechbench.experiments.summary import headline
from mechbench.figures.edited_choices import edited_choices_figure
from mechbench.results.edit_side_effects import EditSideEffects
from mechbench.results.store import RunStore

EDITS = {"edits": "1.163,0.182", "n": 12}


def heat_maps(shown):
    """Values and texts of the heat maps that the page draws."""
    charts = [json.loads(chart.proto.spec) for chart in shown.get("plotly_chart")]
    return [part for chart in charts for part in chart["data"] if part["type"] == "heatmap"]


def fine(shown):
    return not shown.exception and not shown.error and not shown.warning


def script(shown, call):
    (found,) = [c.value for c in shown.code if f"{call}(" in c.value and "import" in c.value]
    names: dict = {}
    exec(found, names)
    return names


def test_the_page_before_anything_is_chosen(page, tmp_path):
    shown = page(tmp_path, "choice", n=12)
    assert fine(shown), (shown.error, shown.warning)
    assert "Anchored rate" in shown.markdown[0].value and "Tick a row" in shown.info[0].value
    assert shown.query_params["view"] == "edits" and "edits" not in shown.query_params


@pytest.mark.parametrize("view", ["bias", "value vectors", "choice lens", "heads"])
def test_every_tab_shows_its_figure_and_its_copies(page, tmp_path, view):
    shown = page(tmp_path, "choice", n=12, view=view)
    assert fine(shown), (shown.error, shown.warning)
    assert shown.get("plotly_chart") and "import mechbench" in shown.code[0].value


def test_a_link_restores_the_edit_and_its_script_gives_the_same_confusions(page, tmp_path):
    chosen = {"target": "right label", "lambda1": 2, "lambda2": 4.5, "options": "3,4"}
    shown = page(tmp_path, "choice", **EDITS, **chosen, labels="P", gold="not_first")
    assert fine(shown), (shown.error, shown.warning)
    result = script(shown, "edited_choices")["edited_choices_result"]
    assert result.neurons == ("1.163", "0.182") and result.target == "right label"
    assert (result.lambda1, result.lambda2) == (2, 4.5) and result.provenance.n_prompts == 12
    drawn = heat_maps(shown)
    assert len(drawn) == 3
    for part, panel in zip(drawn, edited_choices_figure(result).panels, strict=False):
        assert part["text"] == [list(row) for row in panel.cell_text]
        assert "P (" not in "".join(panel.rows)  # never right, as the link says
    (line,) = headline({"edit": result})
    assert plain(line) in [m.value for m in shown.markdown]
    assert not np.array_equal(*result.counts.sel(argmax="any token")[:2])


def test_edits_that_are_off_change_nothing(page, tmp_path):
    shown = page(tmp_path, "choice", **EDITS, on=0)
    assert fine(shown)
    before, after, _ = heat_maps(shown)
    assert before["text"] == after["text"]


@pytest.mark.parametrize(
    "bad",
    [
        {"edits": "abc"},
        {"edits": "1.163,1.163"},
        {"edits": "99.0"},
        {"lambda1": "99"},
        {"target": "always A", "edits": "1.163"},
        {"view": "nothing"},
        {"options": "9"},
        {"families": "riddles"},
        {"labels": "<b>"},
        {"model": "twohop"},
        {"run": "../.."},
    ],
)
def test_bad_parameters_are_told_and_replaced(page, tmp_path, bad):
    shown = page(tmp_path, "choice", n=8, **bad)
    assert not shown.exception and not shown.error
    assert len(shown.warning) == 1, [w.value for w in shown.warning]


def test_neurons_that_are_typed_badly_are_told(page, tmp_path):
    shown = page(tmp_path, "choice", n=8)
    shown.text_input(key="url-edits").set_value("1.163; drop").run()
    assert not shown.exception and not shown.error and len(shown.warning) == 1
    shown.text_input(key="url-edits").set_value("1.163, 0.182").run()
    assert fine(shown) and shown.query_params["edits"] == "1.163, 0.182"
    assert len(heat_maps(shown)) == 3


def test_a_model_without_the_bias_says_what_to_do(page, tmp_path):
    shown = page(tmp_path, "choice", n=8, model="mcq-uniform", edits="1.2")
    assert not shown.exception and "items" in shown.error[0].value
    assert len(heat_maps(shown)) == 3  # the edit is shown all the same
    shown = page(tmp_path, "choice", n=8, model="mcq-uniform", items="gold later")
    assert fine(shown)


def test_the_models_on_offer_know_labels():
    from apps.parts.choice import offered
    from mechbench import load_model
    from mechbench.errors import MechbenchError
    from mechbench.models.bundled import bundled_models
    from mechbench.tasks.multiple_choice import multiple_choice

    def knows(name):
        try:
            multiple_choice(load_model(name).tokenizer, n=4, families=["alphabet"])
        except MechbenchError:
            return False
        return True

    names = [m.name for m in bundled_models()]
    assert [n for n in names if knows(n)] == sorted(n for n in offered() if n in names)


def test_side_effects_from_the_button_to_the_figure(page, tmp_path):
    shown = page(tmp_path, "choice", **EDITS, view="side effects", texts=4, others="ioi")
    assert fine(shown)
    shown.button[0].click().run()
    assert fine(shown)
    run_id = shown.query_params["run"]
    for _ in range(1200):
        status = RunStore(tmp_path).open(run_id).status()
        if status.state not in ("queued", "running"):
            break
        time.sleep(0.1)
    assert status.state == "finished", status
    again = page(tmp_path, "choice", run=run_id, view="side effects")
    assert fine(again), (again.error, again.warning)
    result = RunStore(tmp_path).open(run_id).load_result("edit-side-effects")
    assert isinstance(result, EditSideEffects) and result.restored
    assert result.neurons == ("1.163", "0.182") and again.query_params["n"] == "12"
    assert any(plain(line) in [m.value for m in again.markdown] for line in headline({"r": result}))
    assert again.get("plotly_chart")


def test_the_shared_model_stays_as_it_is_and_others_see_no_edit(page, tmp_path, monkeypatch):
    from apps.common.answers import answer
    from apps.common.session import pool
    from apps.parts.choice import bias_spec, edit_spec

    page(tmp_path, "choice", n=8)
    part = {
        "name": "multiple_choice",
        "n": 16,
        "params": {"families": ["greater_than"], "labels": "A"},
    }
    plain_spec = bias_spec("mcq-anchored", part)
    wanted = answer(plain_spec)
    with pool().use(plain_spec.model) as model:
        before = {name: weight.clone() for name, weight in model.state_dict().items()}
    monkeypatch.setattr("apps.parts.choice.strength", lambda: {"lambda1": 16.0, "lambda2": 16.0})
    edits = [
        edit_spec("mcq-anchored", {**part, "seed": seed}, ("0.182", "1.163"), "always B")
        for seed in range(4)
    ]
    readings = [plain_spec.model_copy(update={"title": f"reading {i}"}) for i in range(4)]
    with ThreadPoolExecutor(4) as users:
        found = list(
            users.map(answer, [spec for i in range(4) for spec in (edits[i], readings[i])])
        )
    for result in found[1::2]:
        assert result.confusion.equals(wanted.confusion) and result.rates.equals(wanted.rates)
    changed = [r.counts.sel(argmax="any token") for r in found[::2]]
    assert any(not np.array_equal(c[0], c[1]) for c in changed)
    with pool().use(plain_spec.model) as model:
        assert all(torch.equal(w, before[name]) for name, w in model.state_dict().items())
