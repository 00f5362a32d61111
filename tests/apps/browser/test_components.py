"""The pages' own components by themselves: whatever tokens hold is shown and never run."""

import json

import pytest

from mechbench.resources import bundled

HOSTILE = ["<script>window.harmed=1</script>", "<img src=x onerror=window.harmed=1>", "<b>x</b>",
           "line\nbreak", "👩‍🔬", "&lt;", "‮right to left"]  # fmt: skip
N = len(HOSTILE)
COLOURS = [["#FFFFFF"] * N for _ in range(N)]
MAP = {
    "title": HOSTILE[0],
    "values": [[r + c / 10 for c in range(N)] for r in range(N)],
    "colours": COLOURS,
    "rows": HOSTILE,
    "cols": HOSTILE,
    "rowTitle": HOSTILE[1],
    "colTitle": "column",
    "unit": HOSTILE[2],
}
MOUNT = """async ([source, html, data]) => {
  const url = URL.createObjectURL(new Blob([source], {type: "text/javascript"}));
  document.body.innerHTML = "<div id=host style='width: 900px'>" + html + "</div>";
  window.told = {};
  const made = await import(url);
  made.default({parentElement: document.getElementById("host"), data,
                setStateValue: (name, value) => { window.told[name] = value; }});
}"""


@pytest.fixture
def mounted(user):
    def mount(name, html, data):
        page = user()
        page.set_content("<body></body>")
        source = (bundled("apps") / "components" / f"{name}.js").read_text(encoding="utf-8")
        page.evaluate(MOUNT, [source, html, json.loads(json.dumps(data))])
        return page

    return mount


def unharmed(page):
    page.wait_for_timeout(100)
    assert page.evaluate("window.harmed") is None
    assert page.locator("#host script, #host img, #host b").count() == 0


def test_the_heat_map(mounted):
    data = {**MAP, "upward": False, "selected": None, "kept": [[1, 1]], "interval": None}
    html = '<div class="box"><canvas tabindex="0"></canvas><div class="word"></div></div>'
    page = mounted("heatmap", html, data)
    canvas = page.locator("canvas")
    box = canvas.bounding_box()
    wide, high = (box["width"] - 64) / N, (box["height"] - 52) / N
    for i, text in enumerate(HOSTILE):
        canvas.hover(position={"x": 56 + wide * (i + 0.5), "y": 6 + high * (i + 0.5)})
        assert text in page.locator(".word").text_content()
    canvas.click(position={"x": 56 + wide * 2.5, "y": 6 + high * 3.5})
    assert page.evaluate("window.told.cell") == [3, 2]
    at = {"x": 56 + wide * 4.5, "y": 6 + high * 0.5}
    canvas.click(position=at, modifiers=["Shift"])
    assert page.evaluate("window.told.collected") == [[1, 1], [0, 4]]
    canvas.click(position=at, modifiers=["Shift"])
    assert page.evaluate("window.told.collected") == [[1, 1]]
    unharmed(page)


def test_the_panels(mounted):
    table = {"title": HOSTILE[1], "columns": HOSTILE, "rows": [HOSTILE]}
    data = {"title": HOSTILE[0], "maps": [MAP, {**MAP, "title": "other"}], "tables": [table]}
    page = mounted("panels", '<div class="panels"></div>', data)
    assert page.locator("td").all_text_contents() == HOSTILE
    assert page.locator(".cell-title").text_content() == HOSTILE[0]
    canvas = page.locator("canvas").nth(1)
    canvas.focus()
    for _ in range(3):
        page.keyboard.press("ArrowDown")
    word = page.locator(".word").text_content()
    assert HOSTILE[3] in word and f"{HOSTILE[0]} 3.00, other 3.00" in word
    unharmed(page)


def test_the_chips(mounted):
    pair = {
        "about": HOSTILE[0],
        "clean": HOSTILE,
        "corrupted": [*HOSTILE[:2], "other", *HOSTILE[3:], "longer"],
        "lines": [HOSTILE[1]],
    }
    page = mounted("chips", '<div class="chips"></div>', {"pairs": [pair]})
    chips = page.locator(".chip").all_text_contents()
    assert chips == [*pair["clean"], *pair["corrupted"]]
    assert page.locator(".differs").all_text_contents() == [HOSTILE[2], "other", "longer"]
    unharmed(page)
