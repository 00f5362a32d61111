"""What tests do with a page of the dashboard in a browser."""

import os
from pathlib import Path
from urllib.parse import parse_qs, urlparse


def settled(page):
    """Waits until the page is drawn."""
    page.wait_for_selector("[data-testid=stApp][data-test-script-state=notRunning]", timeout=20000)


def picture(page, name):
    """A screenshot in the folder that MECHBENCH_SCREENSHOTS names; none where it names none."""
    folder = os.environ.get("MECHBENCH_SCREENSHOTS")
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


def query(page):
    """The state in the page's address."""
    return {key: values[0] for key, values in parse_qs(urlparse(page.url).query).items()}
