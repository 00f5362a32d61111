"""Routes and experts in a browser: clicks, keys, links, speed, hostile tokens."""

import random

from tests.apps.browser.pages import note_times, picture, query, seconds_of, settled

ROUTES = "routers?model=mixed-mod&task=induction&n=4&seed=0"
EXPERTS = "routers?model=mixed-deepseek-v2&task=induction&n=4&seed=0&rows=2"


def opened(server, page, path):
    page.goto(f"{server[0]}/{path}")
    page.wait_for_selector("td.cell, canvas", timeout=90000)
    settled(page)


def cell(page, side, row, position):
    return (
        page.locator("table")
        .nth(side)
        .locator("tbody tr")
        .nth(position)
        .locator("td.cell")
        .nth(row)
    )


def test_clicks_and_keys_choose_the_token_and_the_link_restores_it(server, user):
    page = user()
    opened(server, page, ROUTES)
    generator = random.Random(0)
    blocks, last = (1, 3), None
    for _ in range(10):
        side, row, position = (generator.randrange(n) for n in (2, 2, 21))
        if (side, row, position) == last:
            continue
        last = side, row, position
        cell(page, *last).click()
        wanted = f"**side={'ab'[side]}&layer={blocks[row]}&position={position}*"
        page.wait_for_url(wanted, timeout=30000)
    settled(page)
    page.wait_for_selector(f"text=Position {last[2]} forced", timeout=30000)
    cell(page, *last).focus()
    page.keyboard.press("ArrowDown" if last[2] < 20 else "ArrowUp")
    page.keyboard.press("Enter")
    moved = last[2] + (1 if last[2] < 20 else -1)
    page.wait_for_url(f"**position={moved}*", timeout=30000)
    page.wait_for_selector(f"text=Position {moved} forced", timeout=30000)
    picture(page, "routers")
    other = user()
    other.goto(page.url)
    other.wait_for_selector(f"text=Position {moved} forced", timeout=90000)


def test_hovering_tells_the_weight_without_asking_the_server(server, user):
    page = user()
    opened(server, page, ROUTES)
    sent = []
    page.on("websocket", lambda socket: socket.on("framesent", lambda frame: sent.append(frame)))
    cell(page, 1, 0, 3).hover()
    word = page.locator(".word").first.inner_text()
    assert word.startswith("corrupted prompt 0, position 3,") and "router weight" in word
    assert sent == []


def test_every_cached_click_shows_its_token(server, user):
    page = user()
    opened(server, page, f"{ROUTES}&side=a&layer=1&position=2")
    places = [(0, 0, 2), (0, 1, 4)]
    took = []
    for turn in range(24):
        place = places[(turn + 1) % 2]
        block = (1, 3)[place[1]]
        took.append(seconds_of(page, cell(page, *place).click))
        page.wait_for_selector(
            f"h3:has-text('Position {place[2]} forced the other way at block {block}')",
            timeout=30000,
        )
    note_times("cached click, router map", took[4:])


def test_an_expert_is_knocked_out_by_a_click(server, user):
    page = user()
    opened(server, page, EXPERTS)
    canvas = page.locator("canvas").first
    box = canvas.bounding_box()
    canvas.click(position={"x": box["width"] / 2, "y": box["height"] / 3})
    page.wait_for_url("**expert=*", timeout=30000)
    layer, expert = query(page)["expert"].split(".")
    page.wait_for_selector(f"text=Without expert {expert} of layer {layer}", timeout=90000)
    settled(page)
    picture(page, "routers-experts")
