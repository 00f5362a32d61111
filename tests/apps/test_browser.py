"""The dashboard in a real Chromium; skipped where there is none."""

import os
import random
import shutil
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from urllib.error import URLError
from urllib.parse import parse_qs, urlparse
from urllib.request import urlopen

import pytest

from mechbench.cli.dashboard import streamlit_command
from mechbench.experiments.runner import run_experiment
from mechbench.results.store import RunStore

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
sync_api = pytest.importorskip("playwright.sync_api")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")

ARGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def server(tmp_path_factory, tiny):
    """(address, store) of a dashboard with one finished sweep."""
    from apps.common.specs import one_step

    store = RunStore(tmp_path_factory.mktemp("browser") / "runs")
    task = {"name": "acronyms", "n": 3, "seed": 0}
    run_experiment(one_step("patching", "A sweep", str(tiny), task, "patch_sweep"), store)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        **os.environ,
        "MECHBENCH_STORE": str(store.root),
        "MECHBENCH_MODELS": str(tiny.parent),
        "PYTHONPATH": str(ROOT),
    }
    with open(store.root / "server.log", "w") as log:
        process = subprocess.Popen(
            streamlit_command(port), env=environment, stdout=log, stderr=subprocess.STDOUT
        )
    address = f"http://127.0.0.1:{port}"
    try:
        _wait_for(f"{address}/_stcore/health")
        yield address, store
    finally:
        process.terminate()
        process.wait(10)


def _wait_for(url):
    for _ in range(200):
        with suppress(URLError, OSError), urlopen(url, timeout=1):
            return
        time.sleep(0.1)
    raise AssertionError("the server did not start")


@pytest.fixture(scope="module")
def chromium():
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGS)
        yield browser
        browser.close()


@pytest.fixture
def user(chromium):
    """Opens pages as a new user; a request that leaves this machine fails the test."""
    contexts, outside = [], []

    def new_user():
        context = chromium.new_context(viewport={"width": 1280, "height": 900})
        contexts.append(context)

        def check(route):
            if urlparse(route.request.url).hostname in ("127.0.0.1", "localhost", None):
                route.continue_()
            else:
                outside.append(route.request.url)
                route.abort()

        context.route("**/*", check)
        return context.new_page()

    yield new_user
    for context in contexts:
        context.close()
    assert outside == []


def settled(page):
    page.wait_for_selector("[data-testid=stApp][data-test-script-state=notRunning]", timeout=20000)


def picture(page, name):
    folder = os.environ.get("MECHBENCH_SCREENSHOTS")
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


def query(page):
    return {key: values[0] for key, values in parse_qs(urlparse(page.url).query).items()}


@pytest.mark.parametrize("name", ["start", "patching", "prompts", "runs"])
def test_every_page_opens_without_an_error(server, user, name):
    page = user()
    page.goto(f"{server[0]}/{name}" if name != "start" else server[0])
    page.wait_for_selector("h1", timeout=20000)
    settled(page)
    assert page.locator("[data-testid=stException]").count() == 0
    assert page.locator("[data-testid=stAlertContentError]").count() == 0
    picture(page, name)


def test_clicks_land_on_the_clicked_cell(server, user):
    address, store = server
    page = user()
    page.goto(f"{address}/patching?run={store.list()[0].run_id}")
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


def test_cells_are_reached_by_the_keyboard_and_links_restore_them(server, user):
    address, store = server
    page = user()
    page.goto(f"{address}/patching?run={store.list()[0].run_id}&layer=0&place=0")
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
