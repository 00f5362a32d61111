"""What tests do with a page of the dashboard in a browser."""

import os
from pathlib import Path
from urllib.parse import parse_qs, urlparse

_LONGEST = 6000  # pixels of a page in a picture


def settled(page):
    """Waits until the page is drawn."""
    page.wait_for_selector("[data-testid=stApp][data-test-script-state=notRunning]", timeout=60000)
    page.wait_for_function("!document.querySelector('[data-testid=stSkeleton]')", timeout=60000)


def picture(page, name):
    """A screenshot in the folder that MECHBENCH_SCREENSHOTS names; none where it names none.

    The whole page is on it: the window is as high as the page for that moment, which scrolls
    within the window.
    """
    folder = os.environ.get("MECHBENCH_SCREENSHOTS")
    if not folder:
        return
    Path(folder).mkdir(parents=True, exist_ok=True)
    size = page.viewport_size
    height = page.evaluate("document.querySelector('[data-testid=stMain]').scrollHeight")
    page.set_viewport_size({**size, "height": min(max(height, size["height"]), _LONGEST)})
    page.mouse.move(0, 0)
    page.wait_for_timeout(300)  # what follows the window's size is drawn anew
    page.screenshot(path=Path(folder) / f"{name}.png")
    page.set_viewport_size(size)


def query(page):
    """The state in the page's address."""
    return {key: values[0] for key, values in parse_qs(urlparse(page.url).query).items()}
