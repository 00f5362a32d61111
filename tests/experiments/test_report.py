"""The report is one file that needs nothing else, and keeps kinds of numbers apart."""

import re
from html.parser import HTMLParser

import pytest

from mechbench.experiments.report import write_report
from mechbench.experiments.runner import run_experiment
from mechbench.experiments.saved import saved_figures
from mechbench.experiments.spec import parse_spec
from mechbench.experiments.tables import TextTable
from mechbench.results.store import RunStore
from tests.small_experiment import small_spec, write_tiny_model


class Tags(HTMLParser):
    def __init__(self, page):
        super().__init__()
        self.found = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    spec = small_spec(write_tiny_model(folder / "tiny"), title="Heads & <tails>")
    return run_experiment(parse_spec(spec, origin="The spec"), RunStore(folder / "runs"))


@pytest.fixture(scope="module")
def page(run):
    return write_report(run).read_text(encoding="utf-8")


def test_nothing_is_fetched(page, run):
    for tag, attributes in Tags(page).found:
        assert tag not in ("script", "link", "iframe", "object")
        if tag == "img":
            assert attributes["src"].startswith("data:image/svg+xml;base64,")
        if tag == "a" and not attributes["href"].startswith("#"):
            assert (run.path / attributes["href"]).is_file()
    assert not re.search(r"url\(|@import|https?://", page)


def test_figures_captions_and_provenance_are_there(page, run):
    for step, figure in saved_figures(run).items():
        assert f'<figure id="{step}">' in page
        assert figure.title in page
    assert page.count("<img") == 2
    assert run.spec_hash in page
    assert "residual_sweep" in page and "head_sweep" in page


def test_the_three_kinds_of_numbers_have_sections_of_their_own(page):
    sections = re.findall(r'<section id="(\w+)">', page)
    assert sections == ["measured", "figures", "published", "untested", "provenance"]


def test_text_is_escaped(page):
    assert "<tails>" not in page and "Heads &amp; &lt;tails&gt;" in page


def test_light_and_dark(page):
    assert "prefers-color-scheme: dark" in page


def test_a_report_is_the_same_bytes_again(page, run):
    assert write_report(run).read_text(encoding="utf-8") == page


def test_an_unfinished_run_says_so(run):
    run.set_status("interrupted")
    try:
        assert "This run is interrupted" in write_report(run).read_text(encoding="utf-8")
    finally:
        run.set_status("finished")


def test_columns_of_numbers_are_found():
    table = TextTable(
        ("head", "effect", "share"),
        (("8.11", "-0.5", "0.9 [0.8, 1.0]"), ("a", "1,000", "5 %")),
    )
    assert table.numeric == {1, 2}
