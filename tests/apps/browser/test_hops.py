"""Multi-hop in a real Chromium: clicks on the grid, their speed, a file brought, a page left."""

from functools import partial

import pytest

from mechbench.experiments.runner import run_experiment
from tests.apps.browser.pages import note_times, picture, query, seconds_of, settled

_LEFT, _BOTTOM, _TOP, _RIGHT, _LAYERS = 56, 46, 6, 8, 6  # as in heatmap.js; the model's layers


@pytest.fixture(scope="module")
def patched(server):
    """The id of finished back-patching of the bundled model."""
    from apps.parts.hops import back_spec

    task = {"name": "two_hop", "n": 32, "seed": 0, "params": {"kinds": ["id_test"]}}
    params = {"positions": ["t1", "t2"], "method": "generate", "max_new_tokens": 4}
    return run_experiment(back_spec("twohop", task, split=0, most=0, **params), server[1]).run_id


@pytest.fixture(scope="module", autouse=True)
def visited(server, chromium):
    """A first visit, so that what is loaded once is loaded before a page is tested or timed."""
    page = chromium.new_page()
    page.goto(server[0])
    page.wait_for_selector("h1", timeout=60000)
    settled(page)
    page.close()


def click(page, canvas, source, target):
    box = canvas.bounding_box()
    wide = (box["width"] - _LEFT - _RIGHT) / _LAYERS
    high = (box["height"] - _TOP - _BOTTOM) / _LAYERS
    x = _LEFT + wide * (target + 0.5)
    canvas.click(position={"x": x, "y": _TOP + high * (_LAYERS - 1 - source + 0.5)})


def opened(user, address, wait_for):
    page = user()
    page.goto(address)
    page.wait_for_selector(f"text={wait_for}", timeout=60000)  # a model may be loaded first
    settled(page)
    assert page.locator("[data-testid=stException]").count() == 0
    assert page.locator("[data-testid=stAlertContentError]").count() == 0
    return page


def test_a_click_tells_what_the_model_says(server, user, patched):
    address, _ = server
    page = opened(user, f"{address}/multi-hop?run={patched}", "Click a cell")
    click(page, page.locator("canvas").first, 3, 1)
    page.wait_for_url("**source=3*target=1*", timeout=10000)
    page.wait_for_selector("text=cell 3 to 1, n=", timeout=30000)
    page.wait_for_selector("text=(bridge): it names the bridge", timeout=30000)
    settled(page)
    page.set_viewport_size({"width": 1280, "height": 1500})
    picture(page, "hops-grid")
    other = opened(user, f"{page.url}&embed_options=dark_theme", "cell 3 to 1, n=")
    other.set_viewport_size({"width": 1280, "height": 1500})
    picture(other, "hops-grid-dark")
    assert query(other)["source"] == "3"


def test_every_cached_click_shows_its_cell(server, user, patched):
    """From the click to the table of the other cell, both seen before."""
    address, _ = server
    page = opened(user, f"{address}/multi-hop?run={patched}&source=3&target=1", "(bridge): it")
    canvas = page.locator("canvas").first
    cells = [(3, 1), (4, 0)]
    took = []
    for turn in range(26):
        source, target = cells[(turn + 1) % 2]
        took.append(seconds_of(page, partial(click, page, canvas, source, target)))
        page.wait_for_selector(f"text=cell {source} to {target}, n=", timeout=30000)
    note_times("cached click, back-patching grid", took[6:])


def test_a_file_is_brought_and_named_by_the_address(server, user):
    from tests.apps.test_hops import rows_of_the_world

    address, store = server
    page = opened(user, f"{address}/multi-hop?task=two_hop_file&view=hop+labels&n=6", "Bring a CSV")
    chosen = {"name": "own.csv", "mimeType": "text/csv", "buffer": rows_of_the_world(6)}
    page.locator("input[type=file]").set_input_files(chosen)
    page.wait_for_url("**file=*", timeout=10000)
    page.wait_for_selector("text=6 queries", timeout=20000)
    assert (store.root / "prompts" / f"{query(page)['file']}.csv").is_file()
    settled(page)
    picture(page, "hops-file")


@pytest.mark.parametrize("view", ["hop labels", "what states say", "what writes them"])
def test_other_views(server, user, view):
    address, _ = server
    where = f"{address}/multi-hop?view={view.replace(' ', '+')}&n=24&from=2&into=1"
    page = opened(user, where, "Copy as Python")
    page.set_viewport_size({"width": 1280, "height": 1500})
    page.wait_for_timeout(1000)
    settled(page)
    picture(page, f"hops-{view.replace(' ', '-')}")


def test_the_page_is_reached_from_another(server, user, patched):
    """Controls of the same name on another page do no harm."""
    address, _ = server
    page = opened(user, f"{address}/patching?task=acronyms&n=4", "Run the sweep")
    page.get_by_role("link", name="Multi-hop").click()
    page.wait_for_selector("text=Patch all pairs of layers", timeout=20000)
    settled(page)
    assert page.locator("[data-testid=stException]").count() == 0
    assert page.locator("[data-testid=stAlertContentError]").count() == 0
    assert query(page)["task"] == "two_hop"
