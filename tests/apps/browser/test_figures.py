"""The basket in a browser: filled, ordered, downloaded, linked, and no one else's."""

import zipfile

from mechbench.figures.basket import Basket
from mechbench.figures.basket_zip import zip_bytes
from tests.apps.browser.pages import picture, query, settled
from tests.figures.gallery import lines, mixed


def button(page, name, place=0):
    return page.get_by_role("button", name=name, exact=True).nth(place)


def opened(page, address):
    page.goto(address)
    page.wait_for_selector("h1", timeout=20000)
    settled(page)
    return page


def basket_of(store, page):
    return Basket.load(store.root / "baskets" / f"{query(page)['basket']}.basket.json")


def test_a_basket_is_filled_ordered_and_downloaded(server, user, tmp_path):
    address, store = server
    page = opened(user(), address)
    button(page, "Add to basket").click()
    page.wait_for_selector("text=now has 1 figure", timeout=10000)
    page.get_by_role("link", name="Figures").click()
    page.wait_for_url("**/figures?*basket=*", timeout=20000)
    settled(page)
    page.get_by_text("Open a basket file").click()
    for figure in (lines(), mixed()):
        before = query(page)["basket"]
        file = {
            "name": f"{figure.name}.figure.json",
            "mimeType": "application/json",
            "buffer": figure.to_json().encode(),
        }
        page.locator("input[type=file]").set_input_files(file)
        page.wait_for_function(f"!location.href.includes('{before}')", timeout=20000)
        settled(page)
    page.get_by_role("textbox", name="Your caption").first.fill("What our heads do")
    button(page, "Down").click()  # leaves the caption, which is kept
    page.wait_for_selector("text=2. Heads, current word corrupted", timeout=20000)
    settled(page)
    basket = basket_of(store, page)
    assert [f.name for f in basket.figures()] == ["faithfulness", "head-sweep", "overview"]
    assert basket.entries[1].caption == "What our heads do"
    with page.expect_download(timeout=60000) as download:
        button(page, "Download ZIP").click()
    assert download.value.suggested_filename == "figures.zip"
    download.value.save_as(tmp_path / "figures.zip")
    assert zipfile.is_zipfile(tmp_path / "figures.zip")
    assert (tmp_path / "figures.zip").read_bytes() == zip_bytes(basket)
    picture(page, "figures-basket")
    page.reload()
    page.wait_for_selector("text=2. Heads, current word corrupted", timeout=20000)
    other = opened(user(), f"{address}/figures")
    assert "Heads, current word corrupted" not in other.content()
    opened(other, page.url)
    other.wait_for_selector("text=2. Heads, current word corrupted", timeout=20000)
    assert button(other, "Make it mine").is_visible() and button(other, "Remove").count() == 0


def test_a_figure_is_downloaded_in_every_format(server, user, tmp_path):
    from mechbench.figures.export import FORMATS, figure_files
    from mechbench.figures.spec import FigureSpec
    from mechbench.resources import bundled

    example = bundled("apps") / "examples" / "example.figure.json"
    figure = FigureSpec.from_json(example.read_text())
    expected = figure_files(figure, FORMATS, preset="text").contents
    page = opened(user(), server[0])
    button(page, "Download").click()
    page.get_by_text("text (6.75 in)").click()
    settled(page)
    picture(page, "figure-downloads")
    for kind, content in expected.items():
        with page.expect_download(timeout=60000) as download:
            button(page, kind if kind == "figure.json" else kind.upper()).click()
        assert download.value.suggested_filename == f"head-sweep.{kind}"
        download.value.save_as(tmp_path / kind)
        assert (tmp_path / kind).read_bytes() == content
