"""What tests do with a page of the dashboard in a browser."""

import os
import statistics
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


_WATCH = """() => {
  window.answered = new Promise((done, fail) => addEventListener("click", () => {
    const before = location.href, start = performance.now();
    const app = document.querySelector("[data-testid=stApp]");
    const look = () => {
      const taken = performance.now() - start;
      if (location.href !== before && app.dataset.testScriptState === "notRunning") done(taken);
      else if (taken > 60000) fail(new Error("the address did not change within a minute"));
      else setTimeout(look, 2);
    };
    look();
  }, {capture: true, once: true}));
}"""


def seconds_of(page, click):
    """From a click until the address, which the server writes, has changed and the page rests.

    Taken in the page itself: what waits from outside looks only twice a second.
    """
    page.evaluate(_WATCH)
    click()
    return page.evaluate("window.answered") / 1000


def note_times(name, seconds):
    """Prints how long something took each time, and keeps it with the pictures.

    It judges nothing, for the times depend on what else the machine does.
    """
    least, median, most = (1000 * f(seconds) for f in (min, statistics.median, max))
    line = (
        f"{name}: median {median:.0f} ms of {len(seconds)}, {least:.0f} to {most:.0f}; "
        f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors"
    )
    print(line)
    folder = os.environ.get("MECHBENCH_SCREENSHOTS")
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        with open(Path(folder) / "times.txt", "a") as lines:
            lines.write(f"{line}\n")


def query(page):
    """The state in the page's address."""
    return {key: values[0] for key, values in parse_qs(urlparse(page.url).query).items()}
