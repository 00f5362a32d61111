"""The dashboard in a real Chromium; skipped where there is none."""

import random
import socket
from urllib.parse import urlparse

import pytest

from mechbench.experiments.runner import run_experiment
from tests.apps.browser.conftest import serving
from tests.apps.browser.pages import picture, query, settled


@pytest.fixture(scope="module")
def swept(server, tiny):
    """The id of a finished sweep on the tiny model."""
    from apps.common.specs import one_step

    task = {"name": "acronyms", "n": 3, "seed": 0}
    spec = one_step("patching", "A sweep", str(tiny), task, "patch_sweep")
    return run_experiment(spec, server[1]).run_id


def test_clicks_land_on_the_clicked_cell(server, user, swept):
    address, _ = server
    page = user()
    page.goto(f"{address}/patching?run={swept}")
    canvas = page.locator("canvas").first
    canvas.wait_for(timeout=20000)
    settled(page)
    generator = random.Random(0)
    left, bottom, top, right, n = 56, 46, 6, 8, 2  # as in heatmap.js; two layers of two heads
    last = None
    for _ in range(30):
        cell = generator.choice([c for c in [(0, 0), (0, 1), (1, 0), (1, 1)] if c != last])
        box = canvas.bounding_box()
        wide, high = (box["width"] - left - right) / n, (box["height"] - top - bottom) / n
        x = left + wide * (cell[1] + generator.uniform(0.02, 0.98))
        y = top + high * (n - 1 - cell[0] + generator.uniform(0.02, 0.98))
        canvas.click(position={"x": x, "y": y})
        wanted = f"**layer={cell[0]}*place={cell[1]}*"
        page.wait_for_url(wanted, timeout=10000)
        last = cell
    page.wait_for_selector(f"text=layer {last[0]}, head {last[1]}", timeout=10000)
    settled(page)
    picture(page, "patching-cell")


def test_cells_are_reached_by_the_keyboard_and_links_restore_them(server, user, swept):
    address, _ = server
    page = user()
    page.goto(f"{address}/patching?run={swept}&layer=0&place=0")
    page.wait_for_selector("text=layer 0, head 0", timeout=20000)
    settled(page)
    page.locator("canvas").first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    page.wait_for_url("**layer=1*place=1*", timeout=10000)
    other = user()
    other.goto(page.url)
    other.wait_for_selector("text=layer 1, head 1", timeout=20000)


def test_a_job_survives_a_reload_and_others_do_not_see_it(server, user, tiny):
    address, store = server
    page, other = user(), user()
    page.goto(f"{address}/patching?model={tiny}&n=128&seed=7")
    page.get_by_role("button", name="Run the sweep").click()
    page.wait_for_url("**run=*", timeout=20000)
    run_id = query(page)["run"]
    page.reload()
    page.wait_for_selector(f"text={run_id}", timeout=20000)
    other.goto(f"{address}/runs")
    other.wait_for_selector("h1", timeout=20000)
    settled(other)
    assert run_id not in other.content()
    page.locator("canvas").first.wait_for(timeout=30000)
    page.goto(f"{address}/runs")
    listed = page.locator(f"text={run_id}").first  # a canvas draws the table; its text is hidden
    listed.wait_for(state="attached", timeout=20000)
    assert store.open(run_id).status().state == "finished"


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
