"""The page Circuit in a real Chromium."""

import json
from dataclasses import asdict

import numpy as np
import pytest

from apps.parts.circuit import SCORES, score_spec
from mechbench.experiments.runner import run_experiment
from mechbench.graphs.annotations import Annotations
from mechbench.graphs.circuit import Circuit
from mechbench.graphs.selection import select
from mechbench.graphs.topology import Shape, transformer_graph
from mechbench.results.kept_texts import keep_text
from tests.apps.browser.pages import picture, query, settled


@pytest.fixture(scope="module")
def scored(server, chromium):
    """The finished run of a bundled model's scores."""
    part = {"name": "acronyms", "n": 8, "seed": 0}
    start = chromium.new_page()
    start.goto(server[0])
    settled(start)
    start.close()
    return run_experiment(score_spec("acronyms-gpt2", part, "eap-ig-inputs", 5), server[1])


def opened(page, server, run, **query):
    extra = "".join(f"&{name}={value}" for name, value in query.items())
    page.goto(f"{server[0]}/circuit?run={run.run_id}{extra}")
    page.wait_for_selector("text=All but the circuit", timeout=60000)
    settled(page)
    return page.locator("canvas.graph")


def visible(canvas):
    return int(canvas.get_attribute("data-visible"))


def moved(page, notch):
    """Moves the slider without letting it go."""
    slide = "(at, notch) => { at.value = notch; at.dispatchEvent(new Event('input')); }"
    page.locator("input[type=range]").first.evaluate(slide, notch)


def test_the_slider_filters_here_and_measures_on_release(server, user, scored):
    page = user()
    canvas = opened(page, server, scored)
    picture(page, "circuit")
    before = page.url
    sizes = np.abs(scored.load_result(SCORES).scores.values.astype(float))
    for notch in (0, 300, 700, 950):
        moved(page, notch)
        shown = page.locator(".count").inner_text()
        threshold = float(shown.split("≥ ")[1].split(":")[0])
        assert visible(canvas) == (sizes >= threshold).sum()
    assert page.url == before  # the server was not asked
    slider = page.locator("input[type=range]").first
    slider.evaluate("(at) => at.dispatchEvent(new Event('change'))")
    page.wait_for_url(f"**t={threshold:g}*", timeout=15000)
    page.wait_for_selector(f"text={int((sizes >= threshold).sum())} of 1,519 edges. ")
    settled(page)
    page.reload()
    page.wait_for_selector("text=All but the circuit", timeout=30000)
    settled(page)
    assert visible(canvas) == (sizes >= threshold).sum()


def test_pruning_here_is_that_of_the_library(server, user, scored):
    scores = scored.load_result(SCORES)
    page = user()
    canvas = opened(page, server, scored, prune=1)
    for notch in (400, 800):
        moved(page, notch)
        threshold = float(page.locator(".count").inner_text().split("≥ ")[1].split(":")[0])
        values = scores.scores.values.astype(float)
        kept = select(scores.graph(), values, rule="threshold", threshold=threshold, prune=True)
        assert visible(canvas) == kept.n_edges


def test_nodes_are_walked_pinned_and_listed_by_the_keyboard(server, user, scored):
    page = user()
    canvas = opened(page, server, scored)
    page.locator("input[type=range]").first.focus()
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowUp")
    name = page.locator(".side h4").inner_text()
    into = page.locator(".side h5").first.inner_text()
    assert into.startswith("In (") and "edges in" in page.locator(".word").inner_text()
    page.keyboard.press("Enter")
    page.wait_for_url("**notes=*", timeout=15000)
    page.wait_for_selector(".side h5:text('Pinned')")
    settled(page)
    other = user()
    opened(other, server, scored, notes=query(page)["notes"], node=name)
    assert other.locator(".side > button").first.inner_text() == name
    assert other.locator(".side h4").inner_text() == name
    assert visible(canvas) > 0
    picture(other, "circuit-node")


def test_a_dark_page(server, user, scored):
    page = user(color_scheme="dark")
    opened(page, server, scored)
    picture(page, "circuit-dark")


def test_a_saved_circuit_is_loaded_again(server, user, scored, tmp_path):
    page = user()
    canvas = opened(page, server, scored)
    with page.expect_download() as saved:
        page.get_by_role("button", name="Save as JSON").click()
    path = tmp_path / "circuit.json"
    saved.value.save_as(path)
    edges = json.loads(path.read_text())["edges"]
    assert len(edges) == visible(canvas)
    page.goto(f"{server[0]}/circuit?model=acronyms-gpt2&n=8&seed=1")
    page.get_by_text("Load a circuit", exact=True).click()
    page.locator("input[type=file]").set_input_files(path)
    page.get_by_role("button", name="Load", exact=True).click()
    page.wait_for_url("**circuit=*", timeout=15000)
    page.wait_for_selector("text=All but the circuit", timeout=30000)
    settled(page)
    assert visible(canvas) == len(edges)
    picture(page, "circuit-loaded")


@pytest.fixture(scope="module")
def large(server):
    """The id of a circuit of GPT-2 small's size, and how large its scores are."""
    graph = transformer_graph(Shape(n_layers=12, n_heads=12, n_kv_heads=12))
    values = np.random.default_rng(0).standard_cauchy(graph.n_edges) / 100
    facts = {"n_layers": 12, "n_heads": 12, "n_kv_heads": 12, "mlps": True, "parallel": False}
    scores = dict(zip(graph.edge_names, values.tolist(), strict=True))
    circuit = Circuit(edges=graph.edge_names, model=facts, task={}, scores=scores)
    return keep_text(circuit.to_json(), server[1].root / "circuits"), np.abs(values)


def test_a_large_graph_is_filtered_and_too_many_edges_are_refused(server, user, large):
    circuit, sizes = large
    page = user()
    page.goto(f"{server[0]}/circuit?circuit={circuit}&exact=0&t={np.sort(sizes)[-3500]:.4g}")
    canvas = page.locator("canvas.graph")
    canvas.wait_for(timeout=60000)
    settled(page)
    assert 3400 < visible(canvas) <= 3501
    assert "2,491 weakest edges" in page.content()
    moved(page, 0)
    least = float(page.locator(".count").inner_text().split("≥ ")[1].split(":")[0])
    assert visible(canvas) == (sizes >= least).sum() > 29900
    assert "too many to draw: 4,000 at most" in page.locator(".count").inner_text()
    moved(page, 700)
    picture(page, "circuit-large")


def test_hovering_names_nodes_and_edges(server, user, scored):
    page = user()
    canvas = opened(page, server, scored)
    box = canvas.bounding_box()
    found = set()
    for x in range(80, int(box["width"]) - 60, 16):
        for y in (int(box["height"] * part) for part in (0.3, 0.87)):
            canvas.hover(position={"x": x, "y": y})
            found.add(page.locator(".word").inner_text())
    scores = scored.load_result(SCORES)
    edges = {
        f"{edge.replace('->', ' → ').replace('<', ' <')}: {abs(value):.4g}"
        for edge, value in zip(
            scores.graph().edge_names, scores.scores.values.tolist(), strict=True
        )
    }
    assert len(found & edges) > 2
    assert any("(head): " in words and "edges in" in words for words in found)


def test_groups_are_drawn_as_one_and_labels_are_text(server, user, scored):
    notes = Annotations().group("<script>alert(1)</script>", ["a1.h2", "a1.h6", "a1.h3"])
    notes = notes.label("m0", "<b>early</b>").pin(["m0", "a2.h2"])
    text = json.dumps(asdict(notes))
    link = {"notes": keep_text(text, server[1].root / "notes"), "merged": 1, "node": "a1.h6"}
    page = user()
    opened(page, server, scored, **link)
    assert page.locator(".side h4").inner_text() == "<script>alert(1)</script>"
    assert "m0 <b>early</b>" in page.locator(".side > button").all_inner_texts()
    scores = scored.load_result(SCORES)
    threshold = float(query(page)["t"])
    inside = ("a1.h2", "a1.h6", "a1.h3")
    edges = [
        edge.replace("<", "->").split("->")
        for edge, value in zip(
            scores.graph().edge_names, scores.scores.values.tolist(), strict=True
        )
        if abs(value) >= threshold
    ]
    into = sum(edge[1] in inside for edge in edges)
    out = sum(edge[0] in inside for edge in edges)
    titles = page.locator(".side h5").all_inner_texts()
    assert titles[:2] == [f"In ({into})", f"Out ({out})"] and into + out > 3
    page.get_by_text("Show figures").click()
    page.wait_for_selector("text=Add to", timeout=30000)
    settled(page)
    picture(page, "circuit-groups")
