"""The basket: filled on any page, ordered and captioned, exported, and each user's own."""

import os
import shlex
import subprocess
import sys
from hashlib import sha256

import pytest

from mechbench.figures.basket import Basket
from mechbench.figures.basket_zip import zip_bytes
from tests.apps.conftest import APP
from tests.figures.gallery import heads, lines, mixed, table


@pytest.fixture
def filled(tmp_path):
    """A store with a basket of three figures that a link names, and its id."""
    basket = Basket().add(heads(), source="run first").add(lines()).add(table())
    basket_id = sha256(basket.to_json().encode()).hexdigest()[:16]
    basket.save(tmp_path / "baskets" / f"{basket_id}.basket.json")
    return tmp_path, basket_id


@pytest.fixture
def own(page, filled):
    """The page with that basket as the user's own, and the store."""
    root, basket_id = filled
    return press(page(root, "figures", basket=basket_id), "Make it mine"), root


def press(shown, name):
    """The page after a click on the button with that key or label."""
    (button,) = [b for b in shown.button if name in (b.key, b.label)]
    shown = button.click().run()
    assert not shown.exception and not shown.error, shown.error
    return shown


def basket_of(root, shown):
    return Basket.load(root / "baskets" / f"{shown.query_params['basket']}.basket.json")


def names(root, shown):
    """The figures' names in the order of the basket, which is that of the page."""
    figures = basket_of(root, shown).figures()
    headings = [f"{place}. {figure.title}" for place, figure in enumerate(figures, 1)]
    assert [s.value.replace("\\", "") for s in shown.subheader] == headings
    return [figure.name for figure in figures]


def test_an_empty_basket_says_how_to_fill_it(page, tmp_path):
    shown = page(tmp_path, "figures")
    assert not shown.exception and not shown.error and not shown.warning
    assert "Add to basket" in shown.info[0].value
    assert not (tmp_path / "baskets").exists()


def test_a_figure_of_any_page_is_put_into_the_basket_once(page, tmp_path):
    shown = press(page(tmp_path), "example-basket")
    assert "now has 1 figure" in shown.toast[0].value
    shown = press(shown, "example-basket")
    assert "already" in shown.toast[0].value
    shown.switch_page("views/figures.py")
    shown.run()
    assert names(tmp_path, shown) == ["head-sweep"]
    assert basket_of(tmp_path, shown).entries[0].source == "dashboard /"
    press(shown, "Undo")
    assert "empty" in shown.info[0].value


def test_a_link_shows_a_basket_and_changes_nothing(page, filled):
    root, basket_id = filled
    shown = page(root, "figures", basket=basket_id)
    assert not shown.exception and not shown.error and not shown.warning
    assert names(root, shown) == ["heads", "faithfulness", "circuit-table"]
    assert "a link shows" in shown.info[0].value
    assert {b.label for b in shown.button} == {"Make it mine", "Show mine"}
    assert not (root / "baskets" / "owners").exists()
    shown = press(shown, "Show mine")
    assert "empty" in shown.info[0].value


def test_figures_are_moved_and_removed_and_each_change_can_be_undone(own):
    shown, root = own
    shown = press(shown, "Down-0")
    assert names(root, shown) == ["faithfulness", "heads", "circuit-table"]
    shown = press(shown, "Up-2")
    assert names(root, shown) == ["faithfulness", "circuit-table", "heads"]
    shown = press(shown, "Remove-0")
    assert names(root, shown) == ["circuit-table", "heads"]
    shown = press(shown, "Empty the basket")
    for expected in (2, 3, 3, 3):
        shown = press(shown, "Undo")
        assert len(names(root, shown)) == expected
    assert names(root, shown) == ["heads", "faithfulness", "circuit-table"]
    assert shown.button(key="Up-0").disabled and shown.button(key="Down-2").disabled


def test_captions_and_widths_are_edited_and_follow_their_figure(own):
    shown, root = own
    shown = shown.text_area(key="caption-0").set_value("Ours <b>_x_</b>").run()
    own_caption = heads().caption
    assert basket_of(root, shown).figures()[0].caption == f"Ours <b>_x_</b>. {own_caption}"
    shown = shown.selectbox(key="keeps-0").select("nothing").run()
    shown = shown.radio(key="preset-0").set_value("text").run()
    shown = press(shown, "Down-0")
    entry = basket_of(root, shown).entries[1]
    assert (entry.caption, entry.keeps, entry.preset) == ("Ours <b>_x_</b>", "nothing", "text")
    assert shown.text_area(key="caption-1").value == "Ours <b>_x_</b>"
    assert shown.radio(key="preset-1").value == "text"
    assert shown.text_area(key="caption-0").value == ""
    assert any("\\<b\\>" in c.value for c in shown.caption)
    shown = press(shown, "own-1")
    assert basket_of(root, shown).figures()[1].caption == own_caption
    assert shown.text_area(key="caption-1").value == ""


def test_an_edit_in_a_second_tab_is_never_made_on_another_figure(own, page):
    shown, root = own
    (pointer,) = (root / "baskets" / "owners").iterdir()
    other = Basket().add(table())
    other_id = sha256(other.to_json().encode()).hexdigest()[:16]
    other.save(root / "baskets" / f"{other_id}.basket.json")
    pointer.write_text(pointer.read_text() + other_id + "\n")
    shown = shown.button(key="Remove-0").click().run()
    assert "changed elsewhere" in shown.error[0].value
    assert names(root, shown) == ["circuit-table"]


@pytest.mark.parametrize("basket_id", ["0123456789abcdef", "../../../etc/pas", "x"])
def test_bad_ids(page, tmp_path, basket_id):
    shown = page(tmp_path, "figures", basket=basket_id)
    assert not shown.exception and not shown.error
    assert len(shown.warning) == 1


def test_bad_formats_and_none(page, filled):
    root, basket_id = filled
    shown = page(root, "figures", basket=basket_id, formats="pdf,exe")
    assert not shown.exception and len(shown.warning) == 1
    none = page(root, "figures", basket=basket_id, formats=",")
    assert not none.exception and not none.error and not none.warning


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (lambda: Basket().add(lines()).to_json(), ["faithfulness"]),
        (lambda: table().to_json(), ["heads", "faithfulness", "circuit-table", "circuit-table-2"]),
    ],
)
def test_an_uploaded_basket_takes_its_place_and_a_figure_is_added(own, content, expected):
    shown, root = own
    shown.file_uploader[0].upload("mine.json", content().encode(), "application/json").run()
    assert not shown.exception and not shown.error
    assert names(root, shown) == expected
    shown = press(shown, "Undo")
    assert names(root, shown) == ["heads", "faithfulness", "circuit-table"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"{}",
        b"[" * 100_000,
        b'{"schema": 1, "basket": [{"file": "/etc/passwd"}]}',
        b'{"schema": 1, "basket": [{"figure": {}, "run": "x"}]}',
        b'{"schema": 1, "figure": {"name": "../x"}}',
    ],
)
def test_a_bad_upload_is_refused_in_words_and_changes_nothing(own, content):
    shown, root = own
    shown.file_uploader[0].upload("bad.json", content, "application/json").run()
    assert not shown.exception and len(shown.error) == 1
    assert "defect" not in shown.error[0].value
    assert names(root, shown) == ["heads", "faithfulness", "circuit-table"]


def test_the_copied_command_and_script_make_the_zip_of_the_page(own, tmp_path):
    shown, root = own
    shown = shown.multiselect[0].set_value(["svg", "pdf"]).run()
    basket = basket_of(root, shown)
    folder = tmp_path / "copied"
    folder.mkdir()
    basket.save(folder / "figures.basket.json")
    environment = {**os.environ, "PYTHONPATH": str(APP.parents[1])}
    script, command = (c.value for c in shown.code)
    words = shlex.split(command)
    assert words[0] == "mechbench"
    expected = zip_bytes(basket, shown.query_params["formats"].split(","))
    for call in ([sys.executable, "-m", *words], [sys.executable, "-c", script]):
        (folder / "figures.zip").unlink(missing_ok=True)
        done = subprocess.run(call, cwd=folder, capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stderr
        assert (folder / "figures.zip").read_bytes() == expected


def test_what_is_wider_than_asked_for_is_told(page, tmp_path):
    basket = Basket().add(mixed())
    basket_id = sha256(basket.to_json().encode()).hexdigest()[:16]
    basket.save(tmp_path / "baskets" / f"{basket_id}.basket.json")
    shown = page(tmp_path, "figures", basket=basket_id)
    assert "6.75 in wide and not 3.25 in" in shown.warning[0].value.replace("\\", "")
