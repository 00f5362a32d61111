"""Baskets: their order and captions, their JSON, and the ZIP file that a paper is made from."""

import hashlib
import io
import json
import re
import zipfile

import pytest

from mechbench.errors import MechbenchError, StoreError
from mechbench.figures.basket import Basket
from mechbench.figures.basket_zip import write_zip, zip_bytes
from mechbench.figures.export import figure_files
from mechbench.figures.spec import FigureSpec
from tests.figures.gallery import PROVENANCE, heads, lines, mixed, table


def _basket() -> Basket:
    return (
        Basket()
        .add(table(), source="run acronyms, step circuit")
        .add(heads(), caption="Ours:  50 % of\nL8_H11 → the letter & {more}.", preset="text")
        .add(table(), preset="text")
    )


def _names(basket: Basket) -> list[str]:
    return [figure.name for figure in basket.figures()]


def test_figures_are_moved_removed_and_named_apart():
    basket = _basket()
    assert _names(basket) == ["circuit-table", "heads", "circuit-table-2"]
    assert _names(basket.moved(1, 0)) == ["heads", "circuit-table", "circuit-table-2"]
    assert _names(basket.moved(0, 2)) == ["heads", "circuit-table", "circuit-table-2"]
    assert basket.moved(0, 2).entries[2] is basket.entries[0]
    assert _names(basket.without(0)) == ["heads", "circuit-table"]
    assert len(basket.entries) == 3


def test_a_number_never_makes_a_name_that_another_figure_has():
    from dataclasses import replace

    basket = Basket().add(heads()).add(heads()).add(replace(heads(), name="heads-2"))
    assert _names(basket) == ["heads", "heads-3", "heads-2"]


def test_a_caption_keeps_the_figures_own_unless_told_otherwise():
    basket, given = _basket(), "Ours: 50 % of L8_H11 → the letter & {more}."
    assert basket.figures()[1].caption == given + " " + heads().caption
    assert basket.keeping(1, "nothing").figures()[1].caption == given
    assert basket.with_caption(1, " ").figures()[1].caption == heads().caption
    assert basket.place_of("circuit-table-2") == 2
    again = Basket.from_json(basket.keeping(1, "nothing").to_json())
    assert again.figures()[1].caption == given


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda b: b.without(3), "3 figures and none at place 3"),
        (lambda b: b.moved(0, -1), "none at place -1"),
        (lambda b: b.with_preset(0, "wide"), "'wide'.*column, text"),
        (lambda b: b.with_caption(0, "x" * 5000), "5,000 characters.*4,000"),
        (lambda b: b.place_of("head"), "'head'.*circuit-table, heads, circuit-table-2"),
        (lambda b: b.keeping(0, "evidense"), "'evidense'.*'evidence'"),
    ],
)
def test_an_edit_that_cannot_be_is_refused(edit, message):
    with pytest.raises(MechbenchError, match=message):
        edit(_basket())


def test_a_saved_basket_is_the_basket(tmp_path):
    basket = _basket()
    again = Basket.load(basket.save(tmp_path / "paper.json"))
    assert again.to_json() == basket.to_json()
    assert zip_bytes(again, ["pdf"]) == zip_bytes(basket, ["pdf"])


def test_a_basket_may_name_the_files_of_its_figures(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "heads.figure.json").write_text(heads().to_json())
    text = '{"schema": 1, "basket": [{"file": "run/heads.figure.json", "preset": "text"}]}'
    (tmp_path / "b.json").write_text(text)
    (entry,) = Basket.load(tmp_path / "b.json").entries
    assert entry.figure.to_json() == heads().to_json()
    assert (entry.preset, entry.source) == ("text", "run/heads.figure.json")
    with pytest.raises(StoreError, match="figure 1.*may only hold figures"):
        Basket.from_json(text)
    with pytest.raises(StoreError, match=r"figure 1.*'\.\./x' is outside"):
        Basket.from_json(text.replace("run/heads.figure.json", "../x"), folder=tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not JSON"),
        ("[]", "keys 'schema' and 'basket'"),
        ('{"schema": 1}', "keys 'schema' and 'basket'"),
        ('{"schema": true, "basket": []}', "'schema' should be a number"),
        ('{"schema": 9, "basket": []}', "format 9.*update mechbench"),
        ('{"schema": 1, "basket": [3]}', "figure 1 should be an object"),
        ('{"schema": 1, "basket": [{"figur": {}}]}', "figure 1 has the unknown key 'figur'"),
        ('{"schema": 1, "basket": [{}]}', "figure 1 should have either 'figure' or 'file'"),
        ('{"schema": 1, "basket": [{"figure": {}, "caption": 5}]}', "'caption' of figure 1.*5"),
        ('{"schema": 1, "basket": [{"figure": {}}]}', "figure 1: The stored figure cannot be read"),
        ('{"schema": 1, "basket": [{"figure": {}, "keeps": null}]}', "'keeps' of figure 1.*None"),
        ("[" * 100_000, "not JSON"),
        ('{"schema": 1, "basket": [{"file": 5}]}', "'file' should be text"),
    ],
)
def test_a_damaged_basket_says_where_and_why(text, message):
    with pytest.raises(StoreError, match=message):
        Basket.from_json(text)


def test_the_zip_has_every_file_of_every_figure_and_the_same_bytes_again(tmp_path):
    basket, calls = _basket(), []
    path = write_zip(basket, tmp_path / "paper.zip", progress=lambda *at: calls.append(at))
    assert calls == [(0, 3), (1, 3), (2, 3), (3, 3)]
    assert path.read_bytes() == zip_bytes(basket)
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        assert {i.date_time for i in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert archive.testzip() is None
        stored = {name: archive.read(name) for name in names}
    kinds = ("pdf", "svg", "html", "csv", "figure.json")
    figures = [f"figures/{n}.{k}" for n in _names(basket) for k in kinds]
    general = [
        "README.txt",
        "figures.tex",
        "provenance.json",
        "basket.json",
        "figures/plotly.min.js",
    ]
    assert sorted(names) == sorted(figures + general)
    assert stored["basket.json"].decode() == basket.to_json()
    spec = FigureSpec.from_json(stored["figures/heads.figure.json"].decode())
    for suffix, content in figure_files(spec, ["pdf", "svg"], preset="text").contents.items():
        assert stored[f"figures/heads.{suffix}"] == content
    first, second, _ = json.loads(stored["provenance.json"])["figures"]
    assert first["source"] == "run acronyms, step circuit" and first["provenance"] == PROVENANCE
    assert second["own_caption"] == heads().caption and second["caption"].startswith("Ours")
    for name, digest in second["sha256"].items():
        assert hashlib.sha256(stored[name]).hexdigest() == digest


def test_figures_tex_includes_each_figure_once_under_its_label():
    with zipfile.ZipFile(io.BytesIO(zip_bytes(_basket(), ["pdf"]))) as archive:
        text = archive.read("figures.tex").decode()
        assert set(re.findall(r"\\includegraphics{(.*?)}", text)) < set(archive.namelist())
    labels = ["fig:circuit-table", "fig:heads", "fig:circuit-table-2"]
    assert re.findall(r"\\label{(.*?)}", text) == labels
    assert re.findall(r"\\begin{(figure\*?)}", text) == ["figure", "figure*", "figure*"]
    assert r"\caption{Ours: 50 \% of L8\_H11 \(\rightarrow\) the letter \& \{more\}. " in text


def test_the_zip_says_what_is_wider_than_asked_for():
    basket = Basket().add(heads()).add(mixed())
    with zipfile.ZipFile(io.BytesIO(zip_bytes(basket, ["svg"]))) as archive:
        readme = archive.read("README.txt").decode()
        records = json.loads(archive.read("provenance.json"))["figures"]
    (note,) = [line for line in readme.splitlines() if " in wide " in line]
    assert note.startswith("overview is 6.75 in wide and not 3.25 in (column), because")
    assert [(r["width_in"], r["note"]) for r in records] == [(3.25, ""), (6.75, note)]


def test_an_empty_basket_and_an_unknown_format_are_refused_before_drawing():
    with pytest.raises(MechbenchError, match="empty: add a figure"):
        zip_bytes(Basket())
    with pytest.raises(MechbenchError, match="'pfd'"):
        zip_bytes(_basket(), ["pfd"])


def test_what_progress_raises_stops_the_work():
    def stop(done: int, total: int) -> None:
        if done:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        zip_bytes(Basket().add(lines()).add(lines()), ["svg"], progress=stop)
