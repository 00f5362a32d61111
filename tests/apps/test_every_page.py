"""What holds for every page of the navigation, whichever there are."""

from pathlib import Path

import pytest

from tests.apps.conftest import APP
from tests.apps.navigation import pages

NAMES = [page.name for page in pages()]


def test_the_navigation_has_every_page_once():
    files = [path.stem for path in (APP.parent / "views").glob("*.py") if path.stem != "__init__"]
    assert sorted(NAMES) == sorted(files)
    assert [page.path for page in pages()].count("") == 1


def test_no_page_is_served_without_the_dashboard_around_it():
    """Streamlit serves a folder ``pages`` beside the script until that called ``navigation``."""
    assert not (APP.parent / "pages").exists()


@pytest.mark.parametrize("name", NAMES)
def test_every_page_has_tests_of_its_own(name):
    tests = Path(__file__).parent / f"test_{name}.py"
    assert tests.is_file() and "shown.exception" in tests.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", NAMES)
def test_smoke(page, tmp_path, name):
    shown = page(tmp_path, name)
    assert not shown.exception and not shown.error and not shown.warning
    assert len(shown.title) == 1


@pytest.mark.parametrize("name", NAMES)
def test_an_address_full_of_nonsense_is_told_and_never_an_error(page, tmp_path, name):
    """Every parameter that the page writes itself, with a value that none of them takes."""
    given = page(tmp_path, name).query_params
    bad = {key: "<script>alert(1)</script>" for key in given} | {"run": "../../etc", "n": "-1"}
    shown = page(tmp_path, name, **bad)
    assert not shown.exception
    assert not [e for e in shown.error if "defect" in e.value]
