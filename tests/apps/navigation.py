"""The pages of the dashboard, read from its navigation, so that no list of them can be behind."""

import ast
from dataclasses import dataclass

from tests.apps.conftest import APP


@dataclass(frozen=True)
class Entry:
    """A page: its file below ``apps``, what it is called, and its path in the address."""

    file: str
    title: str
    url_path: str
    default: bool = False

    @property
    def name(self) -> str:
        """What its tests are called: the name of its file."""
        return self.file.removeprefix("views/").removesuffix(".py")

    @property
    def path(self) -> str:
        """Its path below the address of the dashboard."""
        return "" if self.default else self.url_path


def pages() -> list[Entry]:
    """All pages, in the order of the navigation."""
    calls = [
        node
        for node in ast.walk(ast.parse(APP.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "st.Page"
    ]
    calls.sort(key=lambda call: call.lineno)
    return [
        Entry(
            ast.literal_eval(call.args[0]),
            **{str(k.arg): ast.literal_eval(k.value) for k in call.keywords},
        )
        for call in calls
    ]
