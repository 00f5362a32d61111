"""A basket: figures collected for a paper, in order, each with its caption and width.

    basket = Basket().add(head_sweep_figure(result), preset="text").add(other, caption="Ours.")
    basket.save("paper.basket.json")
    write_zip(Basket.load("paper.basket.json"), "figures.zip")   # mechbench.figures.basket_zip

A basket does not change: every method that edits gives a new one.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from mechbench.errors import MechbenchError
from mechbench.figures.captions import Keeps, check_keeps, combined
from mechbench.figures.presets import find_preset
from mechbench.figures.spec import FigureSpec
from mechbench.results.files import read_text, write_atomically

LONGEST_CAPTION = 4000  # characters


@dataclass(frozen=True, kw_only=True, eq=False)
class Entry:
    """One figure of a basket.

    ``caption`` (None, or only spaces: none) comes first, then what it ``keeps`` of the figure's
    own: all of it, the evidence alone (model, n and interval), or nothing. ``source`` says where
    the figure was taken from, in words, such as "run acronyms, step heads".

    Raises
        MechbenchError for an unknown preset or part to keep, or a caption of more than
        ``LONGEST_CAPTION``.
    """

    figure: FigureSpec
    caption: str | None = None
    keeps: Keeps = "all"
    preset: str = "column"
    source: str = ""

    def __post_init__(self) -> None:
        find_preset(self.preset)
        check_keeps(self.keeps)
        caption = " ".join((self.caption or "").split())
        if len(caption) > LONGEST_CAPTION:
            raise MechbenchError(
                f"The caption of {self.figure.name!r} has {len(caption):,} characters; the most is "
                f"{LONGEST_CAPTION:,}: shorten it."
            )
        object.__setattr__(self, "caption", caption or None)

    @property
    def full_caption(self) -> str:
        """The caption that is written: the figure's own, or the one given with what it keeps."""
        own = self.figure.caption
        return own if self.caption is None else combined(self.caption, own, self.keeps)


@dataclass(frozen=True, eq=False)
class Basket:
    """Figures in the order in which they are written."""

    entries: tuple[Entry, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "entries", tuple(self.entries))

    def add(
        self,
        figure: FigureSpec,
        *,
        caption: str | None = None,
        keeps: Keeps = "all",
        preset: str = "column",
        source: str = "",
    ) -> "Basket":
        """The basket with ``figure`` at its end."""
        entry = Entry(figure=figure, caption=caption, keeps=keeps, preset=preset, source=source)
        return Basket((*self.entries, entry))

    def without(self, index: int) -> "Basket":
        """The basket less the figure at ``index``."""
        self._check(index)
        return Basket(self.entries[:index] + self.entries[index + 1 :])

    def moved(self, index: int, to: int) -> "Basket":
        """The basket with the figure at ``index`` taken out and put back at place ``to``."""
        self._check(index)
        self._check(to)
        rest = list(self.without(index).entries)
        rest.insert(to, self.entries[index])
        return Basket(tuple(rest))

    def with_caption(self, index: int, caption: str | None) -> "Basket":
        """The basket with a caption at ``index``; None brings back the figure's own alone."""
        self._check(index)
        return self._with(index, replace(self.entries[index], caption=caption))

    def keeping(self, index: int, keeps: Keeps) -> "Basket":
        """The basket whose caption at ``index`` keeps that part of the figure's own."""
        self._check(index)
        return self._with(index, replace(self.entries[index], keeps=keeps))

    def with_preset(self, index: int, preset: str) -> "Basket":
        """The basket with the figure at ``index`` as wide as ``preset``."""
        self._check(index)
        return self._with(index, replace(self.entries[index], preset=preset))

    def place_of(self, name: str) -> int:
        """The place, counted from 0, of the figure whose files get this name.

        Raises
            MechbenchError for a name that no figure has, listing those there are.
        """
        names = [figure.name for figure in self.figures()]
        if name not in names:
            raise MechbenchError(
                f"There is no figure {name!r} in the basket. Figures: {', '.join(names)}."
            )
        return names.index(name)

    def figures(self) -> list[FigureSpec]:
        """The figures as they are written: with their captions, under names of their own.

        A second figure of one name is called ``name-2``, and so on, in the order of the basket.
        """
        own = {entry.figure.name for entry in self.entries}
        taken: set[str] = set()
        figures = []
        for entry in self.entries:
            name, number = entry.figure.name, 1
            while name in taken or (number > 1 and name in own):
                number += 1
                name = f"{entry.figure.name}-{number}"
            taken.add(name)
            figures.append(replace(entry.figure, name=name, caption=entry.full_caption))
        return figures

    def to_json(self) -> str:
        """The whole basket, figures included, as JSON text."""
        from mechbench.figures.basket_json import basket_to_json

        return basket_to_json(self)

    @classmethod
    def from_json(cls, text: str, *, folder: Path | str | None = None) -> "Basket":
        """The basket that was stored as ``text``.

        An entry holds its figure, or names its file below ``folder``; without a ``folder`` no
        file is opened.

        Raises
            StoreError where ``text`` is not such a basket, naming the entry and what is wrong.
        """
        from mechbench.figures.basket_json import basket_from_json

        return basket_from_json(text, None if folder is None else Path(folder))

    def save(self, path: Path | str) -> Path:
        """``path`` after it holds the basket.

        Raises
            StoreError where it cannot be written.
        """
        return write_atomically(Path(path), self.to_json())

    @classmethod
    def load(cls, path: Path | str) -> "Basket":
        """The basket in the file ``path``; files that it names are looked for beside it.

        Raises
            StoreError where there is none, or it cannot be read.
        """
        path = Path(path)
        return cls.from_json(read_text(path, "basket"), folder=path.parent)

    def _with(self, index: int, entry: Entry) -> "Basket":
        return Basket((*self.entries[:index], entry, *self.entries[index + 1 :]))

    def _check(self, index: int) -> None:
        if not 0 <= index < len(self.entries):
            raise MechbenchError(
                f"The basket has {len(self.entries)} figures and none at place {index}, counted "
                "from 0."
            )
