"""``mechbench export`` from stored figures alone: baskets, ZIP files, captions and widths."""

import json
import os
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from mechbench.figures.basket import Basket
from mechbench.figures.basket_zip import zip_bytes
from mechbench.figures.export import figure_files
from mechbench.results.store import RunStore
from tests.figures.gallery import heads, lines, mixed, table


@pytest.fixture
def store(tmp_path):
    """A store with two runs that have stored figures and nothing else."""
    for name, figure in (("first", heads()), ("second", table())):
        run = RunStore(tmp_path / "runs").create(
            {"name": name, "steps": [{"id": "one"}]}, slug=name
        )
        run.figures.mkdir()
        (run.figures / "one.figure.json").write_text(replace(figure, name="one").to_json())
    return tmp_path / "runs"


def test_one_run_is_drawn_into_its_own_folder(mechbench, store):
    code, out, _ = mechbench("export", "first", "--store", store, "--preset", "text")
    (run,) = (s.path for s in RunStore(store).list() if "first" in s.run_id)
    assert code == 0
    made = {p.name for p in (run / "figures" / "text").iterdir()}
    assert made == {"one.pdf", "one.svg", "one.csv", "one.figure.json"}
    assert len(out.split()) == len(made)


def test_several_runs_become_one_zip_and_one_basket(mechbench, store, tmp_path):
    words = ["second:one", "first", "--store", store, "--zip", tmp_path / "a.zip"]
    options = ["--basket", tmp_path / "b.json", "--caption", "one-2=Ours, n = 64."]
    code, out, err = mechbench("export", *words, *options)
    assert code == 0, err
    assert out.split() == [str(tmp_path / "b.json"), str(tmp_path / "a.zip")]
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert {"figures.tex", "figures/one.html", "figures/one-2.pdf"} <= set(archive.namelist())
        assert r"\caption{Ours, n = 64. " in archive.read("figures.tex").decode()
    code, _, err = mechbench("export", tmp_path / "b.json", "--zip", tmp_path / "again.zip")
    assert code == 0, err
    assert (tmp_path / "again.zip").read_bytes() == (tmp_path / "a.zip").read_bytes()


def test_a_stored_figure_is_redrawn_with_a_caption_and_without_torch(tmp_path):
    (tmp_path / "heads.figure.json").write_text(heads().to_json())
    words = ["export", "heads.figure.json", "--caption", "Mine, n = 64.", "--keep", "nothing"]
    words += ["--format", "pdf"]
    code = (
        f"import sys; sys.argv = {['mechbench', *words]!r}\n"
        "from mechbench.cli import main\n"
        "try:\n    main()\nexcept SystemExit as stop:\n    assert not stop.code, stop.code\n"
        "print('LOADED', *({'torch', 'transformers', 'streamlit'} & set(sys.modules)))"
    )
    root = {"PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, cwd=tmp_path, env=os.environ | root, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip().splitlines()[-1] == "LOADED"
    expected = figure_files(replace(heads(), caption="Mine, n = 64."), ["pdf"]).contents
    for suffix, content in expected.items():
        assert (tmp_path / "figures" / f"heads.{suffix}").read_bytes() == content


def test_the_width_of_a_basket_holds_unless_another_is_asked_for(mechbench, tmp_path):
    Basket().add(heads(), preset="text").save(tmp_path / "b.json")
    for words, width in (((), 486), (("--preset", "column"), 234)):
        out = tmp_path / str(width)
        code, _, err = mechbench("export", tmp_path / "b.json", "--out", out, *words)
        assert code == 0, err
        assert f"/MediaBox [ 0 0 {width} ".encode() in (out / "heads.pdf").read_bytes()


def test_every_choice_of_the_page_figures_has_its_option(mechbench, tmp_path):
    """Order, removal, caption, what it keeps, width of each, formats, ZIP file, basket file."""
    collected = Basket().add(heads()).add(lines()).add(table()).add(heads(), source="run b")
    collected.save(tmp_path / "b.json")
    edited = collected.moved(3, 0).without(2).with_preset(1, "text").with_caption(0, "A = 5 %")
    edited = edited.with_caption(2, "Mine.").keeping(2, "nothing").keeping(0, "evidence")
    edited = edited.with_caption(1, "Taken back.").with_caption(1, None)
    sources = [f"{tmp_path / 'b.json'}:{name}" for name in ("heads-2", "heads", "circuit-table")]
    options = ["--caption", "heads=A = 5 %", "--keep", "heads=evidence", "--preset", "heads-2=text"]
    options += ["--caption", "circuit-table=Mine.", "--keep", "circuit-table=nothing"]
    options += ["--format", "svg,png", "--zip", tmp_path / "a.zip", "--basket", tmp_path / "c.json"]
    code, _, err = mechbench("export", *sources, *options)
    assert code == 0, err
    assert (tmp_path / "c.json").read_text() == edited.to_json()
    assert (tmp_path / "a.zip").read_bytes() == zip_bytes(edited, ["svg", "png"])


def test_a_figure_wider_than_asked_for_is_told(mechbench, tmp_path):
    (tmp_path / "m.figure.json").write_text(mixed().to_json())
    code, _, err = mechbench("export", tmp_path / "m.figure.json", "--out", tmp_path / "o")
    assert code == 0 and "overview is 6.75 in wide and not 3.25 in (column)" in err


def test_what_cannot_be_exported_is_refused_in_a_sentence(refused, store, tmp_path):
    at = ("--store", store)
    assert "'two'" in refused("export", "first:two", *at)
    assert "no figure 'x'" in refused("export", "first", "second", *at, "--caption", "x=y")
    assert "'textt'" in refused("export", "first", *at, "--preset", "one=textt")
    assert "'some'" in refused("export", "first", *at, "--keep", "some")
    assert "no figure 'two'" in refused("export", "first", *at, "--keep", "two=all")
    (tmp_path / "bad.json").write_text(json.dumps({"schema": 1, "basket": [{}]}))
    assert "figure 1" in refused("export", tmp_path / "bad.json")
    Basket().save(tmp_path / "empty.json")
    assert "empty" in refused("export", tmp_path / "empty.json", "--zip", tmp_path / "e.zip")
