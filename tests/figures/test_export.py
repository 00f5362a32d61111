"""Exported files: the same bytes each time, vectors only, fonts inside, provenance inside."""

import csv
import io
import json
import re
from dataclasses import replace

import numpy as np
import pytest

from mechbench.errors import MechbenchError, StoreError
from mechbench.figures.export import FORMATS, export_figure, paper_bytes
from mechbench.figures.spec import FigureSpec, Heatmap
from mechbench.figures.tidy import COLUMNS, to_csv
from tests.figures.gallery import PROVENANCE, SPECS, heads, lens, mixed
from tests.figures.style import check_caption, check_pdf, check_stored


@pytest.mark.parametrize("name", ["lens", "lines"])
def test_files_are_the_same_bytes_when_exported_again(tmp_path, name):
    spec = SPECS[name]()
    first = export_figure(spec, tmp_path / "a")
    again = export_figure(FigureSpec.from_json(spec.to_json()), tmp_path / "b")
    assert [p.name for p in first] == [f"{spec.name}.{s}" for s in (*FORMATS, "figure.json", "csv")]
    for one, two in zip(first, again, strict=True):
        assert one.read_bytes() == two.read_bytes(), one.name


def test_bytes_do_not_depend_on_what_was_drawn_before(tmp_path):
    alone = export_figure(heads(), tmp_path / "a", ["pdf", "svg"])
    export_figure(lens(), tmp_path / "b", ["pdf", "svg"])
    after = export_figure(heads(), tmp_path / "b", ["pdf", "svg"])
    assert [p.read_bytes() for p in alone] == [p.read_bytes() for p in after]


@pytest.mark.parametrize("name", [n for n in SPECS if n != "mixed"])
def test_the_pdf_has_embedded_fonts_and_no_raster_image(tmp_path, name):
    (pdf, *_) = export_figure(SPECS[name](), tmp_path, ["pdf"])
    content = pdf.read_bytes()
    assert not re.search(rb"/Subtype\s*/Image\b", content)
    assert b"/FontFile2" in content and b"/Type3" not in content
    assert b"CreationDate" not in content


def test_provenance_and_caption_are_inside_each_file(tmp_path):
    paths = {p.suffix: p for p in export_figure(heads(), tmp_path)}
    pdf = paths[".pdf"].read_bytes()
    keywords = re.search(rb"/Keywords \((.*?)\)\n", pdf)
    assert keywords is not None and json.loads(keywords[1]) == PROVENANCE
    assert b"/Subject (Denoising, acronyms-gpt2" in pdf
    for suffix in (".svg", ".png", ".html", ".json"):
        assert b"ab12" in paths[suffix].read_bytes(), suffix
    assert "Denoising, acronyms-gpt2" in paths[".html"].read_text()


def test_the_svg_has_paths_and_no_raster_image(tmp_path):
    (svg, *_) = export_figure(heads(), tmp_path, ["svg"])
    assert "<image" not in svg.read_text() and "<dc:date>" not in svg.read_text()


def test_html_stands_alone_or_shares_one_script(tmp_path):
    (page, *_) = export_figure(lens(), tmp_path / "a", ["html"])
    text = page.read_text()
    assert len(text) > 1_000_000 and "<script src=" not in text and "cdn." not in text[:3000]
    (small, *_) = export_figure(lens(), tmp_path / "b", ["html"], plotly_js="directory")
    assert small.stat().st_size < 100_000
    assert 'src="plotly.min.js"' in small.read_text()
    assert (tmp_path / "b" / "plotly.min.js").stat().st_size > 1_000_000


def test_tokens_are_escaped_in_the_page(tmp_path):
    (page, *_) = export_figure(lens(), tmp_path, ["html"], plotly_js="directory")
    assert "<b>x</b>" not in page.read_text()


def test_the_csv_holds_every_value():
    rows = list(csv.DictReader(io.StringIO(to_csv(mixed()))))
    assert tuple(rows[0]) == COLUMNS
    heat = np.array([float(r["value"]) for r in rows if r["panel"] == "0"])
    np.testing.assert_array_equal(heat.reshape(12, 12), heads().panels[0].values)
    kinds = {r["kind"] for r in rows}
    assert kinds == {"heatmap", "lines", "bars", "points", "histogram", "table"}
    bars = [r for r in rows if r["kind"] == "bars"]
    assert len(bars) == 18 and float(bars[0]["low"]) < float(bars[0]["high"])


@pytest.mark.parametrize("name", SPECS)
def test_the_stored_spec_is_the_spec(name):
    spec = SPECS[name]()
    assert FigureSpec.from_json(spec.to_json()).to_json() == spec.to_json()
    assert to_csv(FigureSpec.from_json(spec.to_json())) == to_csv(spec)


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"schema": 1, "figure": {"panels": []}}'])
def test_a_damaged_stored_spec_is_a_store_error(text):
    with pytest.raises(StoreError, match="cannot be read"):
        FigureSpec.from_json(text)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            '"title": "Effect of each head on the third letter"',
            '"title": 5',
            "'title' should be str",
        ),
        ('"columns": 1', '"columns": true', "'columns' should be int"),
        ('"kind": "Heatmap"', '"kind": "Lattice"', "Lattice"),
        ('"dtype": "<f8"', '"dtype": "<U100000000"', "texts of at most 1 characters"),
        ('"panels": [{', '"panels": [{"kind": "Sequential"}, {', "not be Sequential"),
    ],
)
def test_a_stored_spec_with_a_part_of_another_kind_is_a_store_error(old, new, message):
    text = heads().to_json()
    assert old in text
    with pytest.raises(StoreError, match=message):
        FigureSpec.from_json(text.replace(old, new))


def test_a_newer_stored_spec_is_a_store_error():
    text = heads().to_json().replace('"schema": 1', '"schema": 9')
    with pytest.raises(StoreError, match="newer.*update mechbench"):
        FigureSpec.from_json(text)


def test_unknown_formats_and_presets_are_named_before_anything_is_written(tmp_path):
    with pytest.raises(MechbenchError, match="'pfd'.*'pdf'.*pdf, svg, png, html"):
        export_figure(heads(), tmp_path / "x", ["pdf", "pfd"])
    with pytest.raises(MechbenchError, match="'wide'.*column, text"):
        export_figure(heads(), tmp_path / "x", ["pdf"], preset="wide")
    assert not (tmp_path / "x").exists()


def test_an_unwritable_folder_is_a_store_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="choose another output folder"):
        export_figure(heads(), tmp_path / "file" / "figures", ["pdf"])


@pytest.mark.parametrize("name", ["Heads", "a b", "a_b", "-a", "a--b", "", "é"])
def test_names_that_break_files_or_latex_are_refused(name):
    with pytest.raises(MechbenchError, match="single hyphens"):
        FigureSpec(name=name, title="", caption="", panels=heads().panels)


@pytest.mark.parametrize("name", [n for n in SPECS if n not in ("mixed", "crowd")])
def test_the_gallery_passes_the_checks_of_every_figure(name):
    check_stored(SPECS[name]())
    check_pdf(SPECS[name](), "column")


def test_the_checks_can_fail():
    spec = heads()
    with pytest.raises(AssertionError, match="no model, n and interval"):
        check_caption(spec)
    method = "Each head is patched in turn and the metric read."
    about = "Model acronyms-gpt2 (ab12), 64 prompts of acronyms (seed 0); "
    known = replace(spec, provenance={"model": "acronyms-gpt2", "n_prompts": 64})
    check_caption(replace(known, caption=f"{method} {about}95 % bootstrap intervals over prompts."))
    for caption, message in (
        (f"Short. {about}95 % bootstrap intervals over prompts.", "what is 'Short.'"),
        (f"{method} {about}intervals are somewhere.", "what interval"),
        (f"{method} About nan. {about}95 % bootstrap intervals over prompts.", "nan"),
    ):
        with pytest.raises(AssertionError, match=message):
            check_caption(replace(known, caption=caption))
    side = 240
    labels = tuple(map(str, range(side)))
    panel = Heatmap(values=np.zeros((side, side)), rows=labels, cols=labels)
    assert b"/Subtype /Image" in paper_bytes(replace(spec, panels=(panel,)), "pdf")
    check_pdf(replace(spec, panels=(panel,)), "column")
