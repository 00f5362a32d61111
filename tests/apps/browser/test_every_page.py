"""Every page of the navigation in a browser: no error, no scrolling sideways, all by keyboard."""

import pytest

from tests.apps.browser.pages import picture, settled
from tests.apps.navigation import pages

_MOST_STEPS = 400
_ROLES = {
    "button",
    "checkbox",
    "combobox",
    "link",
    "listbox",
    "radio",
    "searchbox",
    "slider",
    "spinbutton",
    "switch",
    "tab",
    "textbox",
}
# Marks what is drawn and takes the focus; of radio buttons the browser offers one of each group.
_MARK = """() => {
  const main = document.querySelector('[data-testid=stMain]');
  const wanted = 'a[href], button, input, textarea, select, canvas[tabindex], [role=button]';
  const groups = new Set();
  let number = 0;
  for (const one of main.querySelectorAll(wanted)) {
    const box = one.getBoundingClientRect();
    if (one.disabled || one.tabIndex < 0 || !box.width || !box.height) continue;
    if (!one.checkVisibility({visibilityProperty: true})) continue;
    if (one.type === 'radio') {
      if (groups.has(one.name)) continue;
      groups.add(one.name);
      one.closest('[role=radiogroup]').dataset.wanted = number++;
    } else one.dataset.wanted = number++;
  }
  return number;
}"""
_FOCUSED = """() => {
  const marked = document.activeElement?.closest('[data-wanted]');
  return marked ? Number(marked.dataset.wanted) : null;
}"""
_DESCRIBE = "n => document.querySelector(`[data-wanted='${n}']`)?.outerHTML.slice(0, 160)"


@pytest.mark.parametrize("entry", pages(), ids=lambda entry: entry.name)
def test_a_page_in_light_and_dark(server, user, entry):
    page = user()
    page.goto(f"{server[0]}/{entry.path}")
    page.wait_for_selector("h1", timeout=20000)
    settled(page)
    assert page.locator("[data-testid=stException]").count() == 0
    assert page.locator("[data-testid=stAlertContentError]").count() == 0
    assert page.title()
    scrolls = "e => e.scrollWidth - e.clientWidth"
    assert page.locator("html").evaluate(scrolls) <= 0, "the page is wider than 1280 pixels"
    assert page.locator("[data-testid=stMain]").evaluate(scrolls) <= 0, "wider than its place"
    assert nameless(page) == []
    assert unreached(page) == []
    picture(page, entry.name)
    dark = user(color_scheme="dark")
    dark.goto(page.url)
    dark.wait_for_selector("h1", timeout=20000)
    settled(dark)
    ground = dark.locator("[data-testid=stApp]").evaluate(
        "e => getComputedStyle(e).backgroundColor"
    )
    assert max(map(int, ground.removeprefix("rgb(").removesuffix(")").split(","))) < 64
    picture(dark, f"{entry.name}-dark")


def nameless(page):
    """The controls that a screen reader would have no name for."""
    session = page.context.new_cdp_session(page)
    nodes = session.send("Accessibility.getFullAXTree")["nodes"]
    return [
        node["role"]["value"]
        for node in nodes
        if not node.get("ignored")
        and node["role"]["value"] in _ROLES
        and not node.get("name", {}).get("value", "").strip()
    ]


def unreached(page):
    """The controls that the Tab key does not come to, described."""
    number = page.evaluate(_MARK)
    page.locator("h1").first.click()
    reached = set()
    for _ in range(_MOST_STEPS):
        page.keyboard.press("Tab")
        reached.add(page.evaluate(_FOCUSED))
        if len(reached - {None}) == number:
            break
    return [page.evaluate(_DESCRIBE, n) for n in range(number) if n not in reached]
