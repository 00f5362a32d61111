"""Tables of text, for the terminal and for the report alike."""

import re
from dataclasses import dataclass

_NUMBER = re.compile(r"[-−+]?[\d.,]+( ?[%s])?( \[.*\])?|")


@dataclass(frozen=True)
class TextTable:
    """Rows of cells under columns, with a title above and a note below."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    title: str = ""
    note: str = ""

    @property
    def numeric(self) -> frozenset[int]:
        """The columns that hold nothing but numbers, which are set to the right."""
        return frozenset(
            i
            for i in range(len(self.columns))
            if self.rows and all(_NUMBER.fullmatch(row[i]) for row in self.rows)
        )
