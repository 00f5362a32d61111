"""The page Heads and tokens in a real Chromium: hover, clicks, links, speed, hostile tokens."""

import json
import os
import shutil
import socket
import subprocess

import pytest
from safetensors.torch import save_file

from mechbench.cli.dashboard import streamlit_command
from mechbench.resources import bundled
from mechbench.tasks.typed_pairs import TypedPair, keep_pairs
from tests.apps.browser.conftest import ROOT, _wait_for
from tests.apps.browser.pages import note_times, picture, query, seconds_of, settled

TOKENS, HEADS, CELLS = "button.token", "button.head", "td.cell"


@pytest.fixture(scope="module", autouse=True)
def first_page(server, chromium):
    """The first page was opened once."""
    page = chromium.new_page()
    page.goto(server[0])
    page.wait_for_selector("h1", timeout=20000)
    page.close()


def opened(page, address, wait, **query):
    """Opens the page and waits until the view is drawn."""
    text = "&".join(f"{k}={v}" for k, v in query.items())
    page.goto(f"{address}/heads?{text}")
    page.locator(wait).first.wait_for(timeout=60000)
    settled(page)
    assert page.locator("[data-testid=stException]").count() == 0
    assert page.locator("[data-testid=stAlertContentError]").count() == 0
    return page


def test_hovering_colours_sources_and_a_click_pins(server, user):
    page = opened(user(), server[0], TOKENS, model="mixed-gpt2", task="ioi", n=8)
    word = page.locator(".word")
    tokens = page.locator(TOKENS)
    n = tokens.count()
    assert f"position {n - 1}" in word.inner_text()
    tokens.nth(4).hover()
    assert "position 4" in word.inner_text() and "pinned" not in word.inner_text()
    weights = [t.inner_text() for t in page.locator(f"{TOKENS} .weight").all()]
    total = sum(float(w) for w in weights if w)
    assert abs(total - 1) < 0.1 and not any(weights[5:])
    tokens.nth(4).click()
    page.wait_for_url("**token=4*", timeout=10000)
    tokens.nth(2).hover()
    assert "position 2" in word.inner_text()
    page.mouse.move(5, 5)
    assert "pinned, position 4" in word.inner_text()
    other = opened(user(), server[0], TOKENS, **query(page))
    assert "pinned, position 4" in other.locator(".word").inner_text()
    tokens.nth(4).click()
    page.wait_for_function("!location.search.includes('token=4')", timeout=10000)


def test_heads_are_chosen_by_mouse_and_keyboard(server, user):
    page = opened(user(), server[0], HEADS, model="mixed-gpt2", task="ioi", n=8, head="1.0")
    assert page.locator(HEADS).count() == 4  # only those of the layer that is shown
    page.locator(HEADS).nth(3).hover()
    assert page.locator(".word").inner_text().startswith("Head 1.3")
    page.locator(HEADS).nth(2).click()
    page.wait_for_url("**head=1.2*", timeout=10000)
    picker = page.locator("[data-testid=stSelectbox]", has_text="Head").locator("input")
    settled(page)
    assert picker.input_value().startswith("1.2: ")  # the control follows the click
    page.locator(HEADS).nth(1).focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**head=1.1*", timeout=10000)
    page.locator(TOKENS).nth(3).focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**token=3*", timeout=10000)
    assert query(page)["head"] == "1.1"


def test_a_row_of_the_attribution_opens_its_head(server, user):
    page = opened(
        user(), server[0], "button.line", model="mixed-gpt2", task="ioi", n=8, view="attribution"
    )
    row = page.locator("button.line").nth(1)
    label = row.locator(".name").inner_text()
    row.click()
    page.locator(TOKENS).first.wait_for(timeout=20000)
    settled(page)
    assert query(page)["view"] == "attention" and query(page)["head"] == label
    assert page.locator(".word").inner_text().startswith(f"Head {label}")


def test_a_cell_of_the_lens_tells_tokens_and_the_ranks_path(server, user):
    page = opened(user(), server[0], CELLS, model="mixed-gpt2", task="ioi", n=8, view="lens")
    lines = page.locator("tbody tr")
    assert lines.count() == 9 and lines.first.locator("th").inner_text() == "final_post"
    cell = lines.nth(3).locator("td").nth(5)
    rank = cell.locator(".small").inner_text().removeprefix("#")
    cell.click()
    page.wait_for_url("**stream=2_mid*position=5*", timeout=10000)
    assert "2_mid" in page.locator(".tops-title").inner_text()
    assert page.locator("ol.tops li").count() == 5
    assert cell.locator(".text").inner_text() == page.locator("ol.tops li .text").first.inner_text()
    dots = page.locator("circle title")
    assert dots.count() == 9 and dots.nth(5).text_content() == f"2_mid: rank {rank}"
    cell.press("ArrowUp")
    page.keyboard.press("Enter")
    page.wait_for_url("**stream=3_pre*position=5*", timeout=10000)
    settled(page)
    other = opened(user(), server[0], CELLS, **query(page))
    assert "3_pre" in other.locator(".tops-title").inner_text()


@pytest.mark.parametrize(("view", "what"), [("attention", TOKENS), ("lens", CELLS)])
def test_every_cached_click_is_in_the_address(server, user, view, what):
    page = opened(user(), server[0], what, model="mixed-gpt2", task="ioi", n=8, view=view)
    places = page.locator(what)
    taken = [seconds_of(page, places.nth(i % 11).click) for i in range(21)]
    note_times(f"cached click, heads, {view}", taken[1:])


@pytest.mark.parametrize("view", ["attention", "circuits", "attribution", "lens"])
def test_every_view_in_both_themes(server, user, view):
    wait = {"attention": HEADS, "circuits": "canvas", "attribution": ".line", "lens": CELLS}[view]
    more = {"attention": {"token": 9}, "lens": {"stream": "2_mid"}}.get(view, {})
    page = user()
    page.set_viewport_size({"width": 1280, "height": 1500})
    opened(page, server[0], wait, model="mixed-gpt2", task="ioi", n=8, view=view, **more)
    picture(page, f"heads-{view}")
    opened(page, server[0], wait, **query(page), embed_options="dark_theme", embed="true")
    picture(page, f"heads-{view}-dark")


SCRIPT, IMAGE = "<script>window.harmed=1</script>", "<img src=x onerror=window.harmed=1>"


@pytest.fixture(scope="module")
def hostile(tmp_path_factory, tiny, chromium):
    """(address, model, pairs) of a dashboard with a model whose tokens look like markup."""
    root = tmp_path_factory.mktemp("hostile")
    shutil.copytree(tiny, root / "models" / "bad")
    shipped = bundled("data") / "tokenizers" / "acronyms"
    shutil.copytree(shipped, root / "models" / "bad", dirs_exist_ok=True)
    tokenizer = json.loads((shipped / "tokenizer.json").read_text(encoding="utf-8"))
    plain = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized", "special"), False)
    for text in (SCRIPT, IMAGE):
        size = len(
            {*tokenizer["model"]["vocab"], *(t["content"] for t in tokenizer["added_tokens"])}
        )
        tokenizer["added_tokens"].append({"id": size, "content": text, **plain})
    folder = root / "models" / "bad"
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    _grow(folder, 2)
    pair = TypedPair(f"A{SCRIPT}B", f"A{IMAGE}B", IMAGE, SCRIPT)
    pairs = keep_pairs([pair, pair], root / "runs" / "prompts").stem
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        **os.environ,
        "MECHBENCH_STORE": str(root / "runs"),
        "MECHBENCH_MODELS": str(root / "models"),
        "PYTHONPATH": str(ROOT),
    }
    with open(root / "server.log", "w") as log:
        process = subprocess.Popen(
            streamlit_command(port), env=environment, stdout=log, stderr=subprocess.STDOUT
        )
    try:
        _wait_for(f"http://127.0.0.1:{port}/_stcore/health")
        yield f"http://127.0.0.1:{port}", folder, pairs
    finally:
        process.kill()  # it has nothing to keep
        process.wait(10)


def _grow(folder, n):
    """A model like the one in the folder, with ``n`` tokens more."""
    import torch

    from mechbench.models.variants import gpt2

    described = json.loads((folder / "config.json").read_text())
    described["config"]["d_vocab"] += n
    torch.manual_seed(0)
    state = gpt2.SPEC.build(gpt2.GPT2Config(**described["config"]), "bad").state_dict()
    save_file({k: v.contiguous() for k, v in state.items()}, folder / "model.safetensors")
    del described["tokenizer"]
    (folder / "config.json").write_text(json.dumps(described))


@pytest.mark.parametrize("view", ["attention", "circuits", "attribution", "lens"])
def test_hostile_tokens_are_text(hostile, user, view):
    address, model, pairs = hostile
    wait = {"attention": HEADS, "circuits": "canvas", "attribution": ".line", "lens": CELLS}[view]
    more = {"between": "prompt"} if view == "circuits" else {}
    page = opened(
        user(), address, wait, model=model, task="pairs", pairs=pairs, view=view, figure=1, **more
    )
    page.wait_for_selector(".js-plotly-plot", timeout=20000)
    settled(page)
    assert page.evaluate("window.harmed") is None
    assert page.locator("img[src=x]").count() == 0
    if view in ("attention", "lens"):
        texts = page.locator(f"{TOKENS} .text" if view == "attention" else "th.column .text")
        assert SCRIPT in texts.all_inner_texts()
