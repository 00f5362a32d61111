"""Maps of routes, forced tokens, load and knock-out of experts; restored by links, copied."""

import time

import numpy as np
import pytest

from apps.common.text import plain
from mechbench.figures.expert_knockout import expert_knockout_figure
from mechbench.figures.forced_route import forced_route_figure
from mechbench.results.store import RunStore

FEW = {"n": 4, "seed": 0}
EXPERTS = {"model": "mixed-deepseek-v2", "on": "task", "rows": 2, "task": "induction", **FEW}


def subheaders(shown):
    return [s.value for s in shown.subheader]


def script(shown, analysis):
    found, *_ = [c.value for c in shown.code if f"{analysis}(" in c.value and "import" in c.value]
    names: dict = {}
    exec(found, names)
    return names[f"{analysis}_result"]


def test_the_page_and_what_it_offers(page, tmp_path):
    shown = page(tmp_path, "routers", **FEW)
    assert not shown.exception and not shown.error and not shown.warning
    offered = shown.selectbox(key="url-model").options
    assert offered == ["mixed-deepseek-v2", "mixed-lory", "mixed-mod"]
    assert [h.value for h in shown.header][:2] == [
        "Which tokens go through which block",
        "All of them",
    ]
    assert any("Click a cell" in c.value for c in shown.caption)
    assert any("token_routes(" in c.value and "predictor" in c.value for c in shown.code)


def test_a_link_restores_prompts_mode_and_cell_and_the_script_gives_the_same(page, tmp_path):
    cell = {"side": "b", "layer": 3, "position": 5, "to": "through"}
    setting = {"mode": "topk", "capacity": 0.5}
    shown = page(tmp_path, "routers", **FEW, **setting, **cell, b=2, brun="clean")
    assert not shown.exception and not shown.error and not shown.warning
    result = script(shown, "forced_route")
    figure = forced_route_figure(result)
    assert (result.run, result.prompt, result.mode, result.capacity) == ("clean", 2, "topk", 0.5)
    assert (result.layer, result.position, result.to) == (3, 5, "through")
    assert plain(figure.title) in subheaders(shown)
    assert plain(figure.caption) in [c.value for c in shown.caption]
    routes = script(shown, "token_routes")
    assert routes.mode == "topk" and int(routes.n_tokens.max()) == round(0.5 * 21)


def test_a_click_is_kept_in_the_address(page, tmp_path):
    shown = page(tmp_path, "routers", **FEW)
    assert not [s for s in subheaders(shown) if "forced" in s]
    shown.query_params["layer"], shown.query_params["position"] = "1", "4"
    shown.run()
    assert [s for s in subheaders(shown) if "Position 4 forced" in s]
    assert any("run='clean'" in c.value for c in shown.code)


def test_the_map_holds_the_decisions_of_the_result(page, tmp_path):
    from apps.components.routers_map import _side
    from mechbench import load_model
    from mechbench.analyses.token_routes import token_routes
    from mechbench.tasks.registry import build_task

    model = load_model("mixed-mod")
    result = token_routes(model, build_task("induction", model.tokenizer, n=4, seed=0))
    side = _side(result, "corrupted", 3)
    at = {"run": "corrupted", "prompt": 3}
    assert np.array_equal(side["through"], result.through.sel(at).values)
    assert side["perBlock"] == [sum(row) for row in side["through"]]
    assert side["perToken"] == [sum(column) for column in zip(*side["through"], strict=True)]
    np.testing.assert_allclose(side["weights"], result.weights.sel(at))


def test_an_expert_is_knocked_out_and_the_script_gives_the_same(page, tmp_path):
    shown = page(tmp_path, "routers", **EXPERTS, expert="2.5")
    assert not shown.exception and not shown.error and not shown.warning
    assert "Load of the experts" in [h.value for h in shown.header] and not shown.info
    result = script(shown, "expert_knockout")
    assert (result.layer, result.expert) == (2, 5)
    figure = expert_knockout_figure(result)
    assert plain(figure.title) in subheaders(shown)
    assert plain(figure.caption) in [c.value for c in shown.caption]
    load = script(shown, "expert_load")
    assert load.load.sizes["expert"] == 8


def test_merged_experts_are_said_to_be_merged(page, tmp_path):
    shown = page(tmp_path, "routers", model="mixed-lory", rows=2, view="domain", **FEW)
    assert not shown.exception and not shown.error and not shown.warning
    assert "merges experts" in shown.info[0].value


@pytest.mark.parametrize(
    ("bad", "warnings"),
    [
        ({"layer": "2", "position": "3"}, 1),
        ({"layer": "1", "position": "-4"}, 1),
        ({"mode": "best", "side": "c"}, 2),
        ({"a": "99", "brun": "<b>"}, 2),
        ({"mode": "topk", "capacity": "7"}, 1),
        ({"model": "mixed-gpt2"}, 1),
        ({"run": "../.."}, 1),
        ({**EXPERTS, "expert": "0.99"}, 1),
        ({**EXPERTS, "view": "x", "rows": "999"}, 2),
    ],
)
def test_bad_parameters_are_told_and_replaced(page, tmp_path, bad, warnings):
    shown = page(tmp_path, "routers", **{**FEW, **bad})
    assert not shown.exception and not shown.error
    assert len(shown.warning) == warnings, [w.value for w in shown.warning]


def test_a_run_of_something_else_is_not_shown(page, stored):
    shown = page(stored[0].path.parent, "routers", run=stored[0].run_id, **FEW)
    assert not shown.exception and "not of this page" in shown.warning[0].value


def test_all_decisions_from_the_button_to_the_figure(page, tmp_path):
    shown = page(tmp_path, "routers", task="acronyms", n=2, seed=0)
    (button,) = [b for b in shown.button if b.label == "Run them all"]
    button.click().run()
    assert not shown.exception and not shown.error
    run_id = shown.query_params["run"]
    for _ in range(900):
        status = RunStore(tmp_path).open(run_id).status()
        if status.state not in ("queued", "running"):
            break
        time.sleep(0.1)
    assert status.state == "finished", status
    shown.run()
    assert not shown.exception and not shown.error
    assert shown.selectbox(key="url-step").options == ["router-map", "router-interventions"]
    assert "What the routers decide" in subheaders(shown)
