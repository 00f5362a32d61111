"""The dashboard in a real Chromium; skipped where there is none."""

import json
import random
import socket
import time
from functools import partial
from urllib.parse import urlparse

import pytest

from mechbench.experiments.runner import run_experiment
from tests.apps.browser.conftest import serving
from tests.apps.browser.pages import note_times, picture, query, seconds_of, settled
from tests.small_experiment import write_tiny_model


@pytest.fixture(scope="module")
def swept(server, tiny):
    """The id of a finished sweep on the tiny model."""
    from apps.common.specs import one_step

    task = {"name": "acronyms", "n": 3, "seed": 0}
    spec = one_step("patching", "A sweep", str(tiny), task, "patch_sweep")
    return run_experiment(spec, server[1]).run_id


@pytest.fixture(scope="module")
def large(server, tmp_path_factory):
    """Ids of finished sweeps of eight layers: by eight heads, and by the prompt's positions."""
    from apps.common.specs import one_step

    model = write_tiny_model(tmp_path_factory.mktemp("large") / "wide", n_layers=8, n_heads=8)
    acronyms = {"name": "acronyms", "n": 2, "seed": 0}
    induction = {"name": "induction", "n": 2, "seed": 0, "params": {"half_length": 7}}
    specs = [
        one_step("patching", f"A sweep of {site}", str(model), task, "patch_sweep", site=site)
        for site, task in (("z", acronyms), ("resid_pre", induction))
    ]
    return [run_experiment(spec, server[1]).run_id for spec in specs]


LEFT, BOTTOM, TOP, RIGHT = 56, 46, 6, 8  # as in heatmap.js


def position(canvas, cell, shape, within):
    """Where a cell is; row 0 is at the bottom, and ``within`` is from 0 to 1 in the cell."""
    box = canvas.bounding_box()
    wide = (box["width"] - LEFT - RIGHT) / shape[1]
    high = (box["height"] - TOP - BOTTOM) / shape[0]
    return {
        "x": LEFT + wide * (cell[1] + within[0]),
        "y": TOP + high * (shape[0] - 1 - cell[0] + within[1]),
    }


@pytest.mark.parametrize("which", [0, 1])
def test_clicks_land_on_the_clicked_cell(server, user, large, which):
    """30 of 30 at random offsets, on maps of real size."""
    address, store = server
    shape = store.open(large[which]).load_result("patch-sweep").effect.shape[:2]
    assert shape[0] == 8 and shape[1] >= (8, 12)[which]
    page = user()
    page.goto(f"{address}/patching?run={large[which]}")
    canvas = page.locator("canvas").first
    canvas.wait_for(timeout=60000)
    settled(page)
    generator = random.Random(which)
    cells = [(r, c) for r in range(shape[0]) for c in range(shape[1])]
    for cell in generator.sample(cells, 30):
        within = generator.uniform(0.02, 0.98), generator.uniform(0.02, 0.98)
        canvas.click(position=position(canvas, cell, shape, within))
        page.wait_for_function(
            "([row, col]) => { const at = new URLSearchParams(location.search);"
            "return at.get('layer') === `${row}` && at.get('place') === `${col}`; }",
            arg=list(cell),
            timeout=20000,
        )
    page.locator(".cell-title", has_text=f"layer {cell[0]}, ").wait_for(timeout=20000)
    settled(page)
    picture(page, f"patching-cell-{which}")


def test_every_cached_cell_opens(server, user, large):
    page = user()
    page.goto(f"{server[0]}/patching?run={large[0]}&layer=0&place=0")
    canvas = page.locator("canvas").first
    canvas.wait_for(timeout=60000)
    settled(page)
    cells = [(0, 1), (3, 4), (7, 7), (5, 2), (0, 0)]
    taken = []
    for cell in cells * 5:
        at = position(canvas, cell, (8, 8), (0.5, 0.5))
        taken.append(seconds_of(page, partial(canvas.click, position=at)))
        title = page.locator(".cell-title", has_text=f"layer {cell[0]}, head {cell[1]}")
        title.wait_for(timeout=20000)
    note_times("cached click, patching map", taken[5:])


def test_collected_cells_are_in_the_address_and_patched_together(server, user, swept):
    page = user()
    page.goto(f"{server[0]}/patching?run={swept}&layer=0&place=0&cells=0.1")
    canvas = page.locator("canvas").first
    canvas.wait_for(timeout=60000)
    settled(page)
    for cell in ((1, 0), (1, 1), (0, 1)):  # the last one was collected, and is let go
        at = position(canvas, cell, (2, 2), (0.5, 0.5))
        canvas.click(position=at, modifiers=["Shift"])
    page.wait_for_function(
        "() => new URLSearchParams(location.search).get('cells') === '1.0,1.1'", timeout=20000
    )
    page.get_by_text("Patch them together").click()
    page.wait_for_selector("text=Patching 2 cells of z together", timeout=60000)
    settled(page)
    picture(page, "patching-together")
    other = user()
    other.goto(page.url)
    other.wait_for_selector("text=Patching 2 cells of z together", timeout=60000)


def test_cells_are_reached_by_the_keyboard_and_links_restore_them(server, user, swept):
    address, _ = server
    page = user()
    page.goto(f"{address}/patching?run={swept}&layer=0&place=0")
    page.locator(".cell-title", has_text="layer 0, head 0").wait_for(timeout=60000)
    settled(page)
    page.locator("canvas").first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    page.wait_for_url("**layer=1*place=1*", timeout=20000)
    other = user()
    other.goto(page.url)
    other.locator(".cell-title", has_text="layer 1, head 1").wait_for(timeout=60000)


def test_a_job_survives_a_reload_and_holds_up_and_shows_nobody(server, user, tiny):
    address, store = server
    page, other = user(), user()
    page.goto(f"{address}/patching?model={tiny}&n=256&seed=7&site=resid_pre")
    page.get_by_role("button", name="Run the sweep").click()
    page.wait_for_url("**run=*", timeout=60000)
    run_id = query(page)["run"]
    page.reload()
    page.wait_for_selector(f"text={run_id}", timeout=60000)
    start = time.perf_counter()
    other.goto(f"{address}/runs")
    other.wait_for_selector("h1", timeout=60000)
    settled(other)
    note_times("another user's first page while a job runs", [time.perf_counter() - start])
    assert run_id not in other.content()
    page.get_by_text("Click a cell").wait_for(timeout=200000)
    page.goto(f"{address}/runs")
    listed = page.locator(f"text={run_id}").first  # a canvas draws the table; its text is hidden
    listed.wait_for(state="attached", timeout=60000)
    assert store.open(run_id).status().state == "finished"


def test_an_upload_in_the_browser(server, user):
    page = user()
    page.goto(f"{server[0]}/prompts?task=pairs")
    page.get_by_text("Upload pairs").click()
    row = {"clean": "A", "corrupted": "The The", "answer": "C"}
    files = page.locator("input[type=file]")
    files.set_input_files(
        {"name": "x.json", "mimeType": "application/json", "buffer": json.dumps([row]).encode()}
    )
    page.wait_for_url("**pairs=*", timeout=60000)
    page.locator(".chip").first.wait_for(timeout=60000)
    settled(page)
    assert page.locator("[data-testid=stAlertContentError]").count() == 1
    assert page.locator(".differs").count() >= 2
    picture(page, "prompts-misfit")


def test_the_first_page_paints_the_example_before_a_model_is_loaded(user, tmp_path):
    settings = {"MECHBENCH_STORE": str(tmp_path), "MECHBENCH_MODELS": ""}
    with serving(settings, tmp_path / "server.log") as address:
        page = user()
        start = time.perf_counter()
        page.goto(address)
        page.locator(".heatmaplayer").first.wait_for(timeout=60000)
        note_times("first page of a new server, its example painted", [time.perf_counter() - start])
        settled(page)
        page.get_by_text("can be chosen by name, and load when first used").first.wait_for()


def test_the_first_page_of_a_new_server_has_the_dashboard_around_it(chromium, tmp_path):
    """Also where it is not the first one of the navigation: its login comes before everything."""
    secret = {"MECHBENCH_STORE": str(tmp_path), "MECHBENCH_MODELS": ""}
    with serving(secret, tmp_path / "server.log") as address:
        context = chromium.new_context()
        page = context.new_page()
        page.goto(f"{address}/runs")
        page.wait_for_selector("h1", timeout=60000)
        settled(page)
        assert "Explore" in page.locator("[data-testid=stSidebar]").inner_text()
        context.close()


@pytest.mark.parametrize(
    ("headers", "code"),
    [({}, 101), ({"Host": "evil.example"}, 403), ({"Origin": "http://evil.example"}, 403)],
)
def test_foreign_hosts_and_origins_are_refused(server, headers, code):
    parsed = urlparse(server[0])
    lines = {
        "Host": parsed.netloc,
        "Origin": server[0],
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
        "Sec-WebSocket-Version": "13",
        **headers,
    }
    if "Host" in headers:
        lines["Origin"] = f"http://{headers['Host']}"
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    request = f"GET /_stcore/stream HTTP/1.1\r\n{head}"
    with socket.create_connection((parsed.hostname, parsed.port), timeout=5) as connection:
        connection.sendall(f"{request}\r\n".encode())
        answer = connection.recv(200).decode(errors="replace")
    assert f" {code} " in answer.splitlines()[0]
