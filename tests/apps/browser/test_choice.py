"""Ticks in the table of value vectors, in a real Chromium; skipped where there is none."""

import pytest

from tests.apps.browser.pages import note_times, picture, query, seconds_of, settled

WITH = "n=32&edits=1.163,0.59"


@pytest.fixture
def address(server, user):
    """Of the page, on a server that has shown the first page."""
    page = user()
    page.goto(server[0])
    page.wait_for_selector("h1", timeout=60000)
    settled(page)
    return f"{server[0]}/multiple-choice"


def opened(page, url):
    page.goto(url)
    page.locator("tbody input").first.wait_for(timeout=60000)
    settled(page)
    return page


def boxes(page):
    return {
        box.get_attribute("data-neuron"): box.is_checked()
        for box in page.locator("tbody input").all()
    }


def test_ticks_go_into_the_address_and_a_link_restores_them(address, user):
    page = opened(user(), f"{address}?n=16")
    assert page.locator("[data-testid=stAlertContentError]").count() == 0
    names = list(boxes(page))
    for name in names[:3]:  # faster than the page answers
        page.locator(f"input[data-neuron='{name}']").check()
    page.wait_for_url(f"**edits={'%2C'.join(names[:3])}*", timeout=60000)
    page.locator(f"input[data-neuron='{names[1]}']").focus()
    page.keyboard.press("Space")
    page.wait_for_url(lambda url: names[1] not in url, timeout=60000)
    page.wait_for_selector("text=before (any token)", timeout=60000)
    other = opened(user(), page.url)
    assert [name for name, on in boxes(other).items() if on] == sorted(
        (names[0], names[2]), key=names.index
    )
    assert (
        other.get_by_role("textbox", name="Edited neurons").input_value()
        == f"{names[0]},{names[2]}"
    )


def test_rows_are_sorted_by_any_column_without_the_server(address, user):
    page = opened(user(), f"{address}?n=16")
    page.get_by_role("button", name="direct gap").click()
    first = [float(c.inner_text().split()[0]) for c in page.locator("tbody td:nth-child(6)").all()]
    assert first == sorted(first, reverse=True) and len(set(first)) > 1


def test_every_tick_shows_its_edit(address, user):
    page = opened(user(), f"{address}?{WITH}")
    page.wait_for_selector("text=before (any token)", timeout=60000)
    box = page.locator("input[data-neuron='0.59']")
    took = []
    for i in range(22):
        wanted = "Value vectors 1.163 edited" if i % 2 == 0 else "1.163, 0.59 edited"
        took.append(seconds_of(page, box.click))
        page.wait_for_selector(f"text={wanted}", timeout=60000)
    note_times("cached tick of a value vector", took[2:])


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_edits_and_their_confusions_in_both_themes(address, user, theme):
    page = opened(user(color_scheme=theme), f"{address}?{WITH}")
    page.wait_for_selector("text=before (any token)", timeout=60000)
    settled(page)
    assert page.locator("[data-testid=stAlertContentError]").count() == 0
    picture(page, f"multiple-choice-{theme}")
    assert query(page)["edits"] == "1.163,0.59"
