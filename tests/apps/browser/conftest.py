"""A dashboard that is served, and a Chromium that opens it; without one the tests are skipped."""

import os
import shutil
import socket
import subprocess
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urlparse
from urllib.request import urlopen

import pytest

from mechbench.cli.dashboard import streamlit_command
from mechbench.results.store import RunStore

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
ARGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="package")
def server(tmp_path_factory, tiny, chromium):
    """(address, store) of a dashboard; tests put runs of their own into the store."""
    store = RunStore(tmp_path_factory.mktemp("browser") / "runs")
    store.root.mkdir()
    settings = {"MECHBENCH_STORE": str(store.root), "MECHBENCH_MODELS": str(tiny.parent)}
    with serving(settings, store.root / "server.log") as address:
        yield address, store


@contextmanager
def serving(settings, log):
    """The address of a new dashboard with these settings in its environment."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, **settings, "PYTHONPATH": str(ROOT)}
    with open(log, "w") as lines:
        process = subprocess.Popen(
            streamlit_command(port), env=environment, stdout=lines, stderr=subprocess.STDOUT
        )
    address = f"http://127.0.0.1:{port}"
    try:
        _wait_for(f"{address}/_stcore/health")
        yield address
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:  # a machine under load, or a job in the middle of a batch
            process.kill()
            process.wait()


def _wait_for(url):
    for _ in range(200):
        with suppress(URLError, OSError), urlopen(url, timeout=1):
            return
        time.sleep(0.1)
    raise AssertionError("the server did not start")


@pytest.fixture(scope="package")
def chromium():
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGS)
        yield browser
        browser.close()


@pytest.fixture
def user(chromium):
    """Opens pages as a new user; a request that leaves this machine fails the test."""
    contexts, outside = [], []

    def new_user(**options):
        context = chromium.new_context(viewport={"width": 1280, "height": 900}, **options)
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
