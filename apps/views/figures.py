"""Figures: the basket in order, with captions and widths, and one ZIP file of it for a paper."""

from collections.abc import Callable
from functools import partial
from typing import cast

import streamlit as st

from apps.common import state
from apps.common.basket import BASKET, can_undo, change, kept, mine, undo
from apps.common.frame import framed
from apps.common.text import plain
from mechbench.errors import MechbenchError, StoreError
from mechbench.experiments.collected import basket_in, holds_basket
from mechbench.figures.basket import LONGEST_CAPTION, Basket
from mechbench.figures.basket_zip import ZIP_FORMATS, zip_bytes
from mechbench.figures.captions import Keeps
from mechbench.figures.export import FORMATS, figure_files
from mechbench.figures.presets import PRESETS
from mechbench.figures.spec import FigureSpec

_REFUSED, _UPLOAD = "basket-refused", "basket-upload"
_FILE, _ZIP = "figures.basket.json", "figures.zip"
_KEPT = {
    "all": "its own caption (method, model, n, interval)",
    "evidence": "model, n and interval alone",
    "nothing": "nothing",
}

Edit = Callable[[Basket], Basket]


def draw() -> None:
    """The page."""
    st.title("Figures")
    refused = st.session_state.pop(_REFUSED, None)
    if refused:
        st.error(plain(refused))
    shown, basket = _shown()
    state.write(basket=shown)
    if not basket.entries:
        st.info("The basket is empty. Under every figure of every page is “Add to basket”.")
    elif shown != mine():
        _not_mine(shown)
    else:
        st.caption("The address of this page is a link to the basket as it is now.")
    figures = basket.figures()
    if figures:
        _export(basket)
    editable = shown == mine()
    if editable:
        _whole(shown, basket)
    for place in range(len(figures)):
        with st.container(border=True):
            framed(partial(_figure, shown, basket, figures, place, editable))
    _open_file()


def _shown() -> tuple[str, Basket]:
    """The basket that the address names, or this user's; with its id."""
    for wanted in (state.read(BASKET), mine()):
        try:
            if wanted:
                return wanted, kept(wanted)
        except StoreError as error:
            st.warning(plain(str(error)))
    return "", Basket()


def _not_mine(shown: str) -> None:
    st.info("This is a basket that a link shows, not your present one.")
    with st.container(horizontal=True):
        st.button(
            "Make it mine",
            on_click=_edit,
            args=(None, lambda _: kept(shown)),
            help="It takes the place of your basket; Undo brings that back.",
        )
        st.button("Show mine", on_click=lambda: state.write(basket=mine()))


def _export(basket: Basket) -> None:
    formats = state.several(
        "Formats",
        state.Several("formats", FORMATS, ZIP_FORMATS),
        help="CSV with the numbers and figure.json, from which a figure is drawn again, are always "
        "there, with where each figure comes from and captions for LaTeX.",
    )
    with st.container(horizontal=True):
        st.download_button(
            "Download ZIP",
            data=partial(zip_bytes, basket, formats),
            file_name=_ZIP,
            mime="application/zip",
            on_click="ignore",
            type="primary",
            disabled=not formats,
            help="Drawn when you click: about a second for each figure.",
        )
        st.download_button(
            "Download the basket",
            data=basket.to_json,
            file_name=_FILE,
            mime="application/json",
            on_click="ignore",
            help="A file to open here later, or to export with the command below.",
        )
    with st.expander("Copy as Python or as a command"):
        st.caption("Both make the same ZIP file of the basket that you downloaded.")
        st.code(_as_python(formats), language="python")
        st.code(_as_command(formats), language="bash")


def _as_python(formats: tuple[str, ...]) -> str:
    return (
        "from mechbench.figures.basket import Basket\n"
        "from mechbench.figures.basket_zip import write_zip\n\n"
        f"basket = Basket.load({_FILE!r})\n"
        f"write_zip(basket, {_ZIP!r}, {list(formats)!r})\n"
    )


def _as_command(formats: tuple[str, ...]) -> str:
    return f"mechbench export {_FILE} --zip {_ZIP} --format {','.join(formats)}\n"


def _whole(shown: str, basket: Basket) -> None:
    """What is done with the whole basket."""
    with st.container(horizontal=True):
        st.button(
            "Undo",
            disabled=not can_undo(),
            on_click=_undo,
            help="The basket as it was before its last change.",
        )
        st.button(
            "Empty the basket",
            disabled=not basket.entries,
            on_click=_edit,
            args=(shown, lambda _: Basket()),
            help="Undo brings it back.",
        )


def _figure(
    shown: str, basket: Basket, figures: list[FigureSpec], place: int, editable: bool
) -> None:
    """One figure as it will be in the paper, and its controls."""
    entry, figure = basket.entries[place], figures[place]
    left, right = st.columns([3, 2])
    with right:
        st.subheader(plain(f"{place + 1}. {figure.title or figure.name}"), anchor=False)
        if editable:
            _order(shown, place, len(figures))
            _looks(shown, basket, place)
        if entry.source:
            st.caption(plain(f"From {entry.source}"))
        with st.expander("Where this figure comes from"):
            st.json(figure.provenance, expanded=1)
    with left:
        png, note = _preview(figure.to_json(), entry.preset)
        st.image(png, alt=figure.title or figure.name, width="stretch")
        st.caption(plain(figure.caption))
        if note:
            st.warning(plain(note))


@st.cache_data(show_spinner="Drawing", max_entries=256)
def _preview(figure: str, preset: str) -> tuple[bytes, str]:
    """The figure as it is printed, as PNG, and a note where its width is another one."""
    files = figure_files(FigureSpec.from_json(figure), ["png"], preset=preset)
    return files.contents["png"], files.note


def _order(shown: str, place: int, n: int) -> None:
    def moving(by: int) -> Edit:
        return lambda basket: basket.moved(place, place + by)

    buttons = {
        "Up": (moving(-1), place == 0),
        "Down": (moving(1), place == n - 1),
        "Remove": (lambda basket: basket.without(place), False),
    }
    with st.container(horizontal=True):
        for label, (edit, disabled) in buttons.items():
            st.button(
                label,
                key=f"{label}-{place}",
                disabled=disabled,
                on_click=_edit,
                args=(shown, edit),
                help=f"{label}: figure {place + 1}.",
            )


def _looks(shown: str, basket: Basket, place: int) -> None:
    """Width and caption; the controls always show what the basket says."""
    entry = basket.entries[place]
    preset, caption, keeps = (f"{name}-{place}" for name in ("preset", "caption", "keeps"))
    held = st.session_state
    held[preset], held[caption], held[keeps] = entry.preset, entry.caption or "", entry.keeps
    st.radio(
        "Width",
        list(PRESETS),
        key=preset,
        horizontal=True,
        format_func=lambda name: f"{name} ({PRESETS[name].width_in:g} in)",
        on_change=lambda: _edit(shown, lambda b: b.with_preset(place, held[preset])),
        help="One of two columns, or the whole text. What would be higher than a page as a column "
        "becomes as wide as the text, and says so.",
    )
    st.text_area(
        "Your caption",
        key=caption,
        max_chars=LONGEST_CAPTION,
        placeholder="None: the figure's own caption stands alone.",
        on_change=lambda: _edit(shown, lambda b: b.with_caption(place, held[caption])),
        help="Plain text; it is escaped for LaTeX. Ctrl and Enter keeps it.",
    )
    if entry.caption is not None:
        st.selectbox(
            "Followed by",
            list(_KEPT),
            key=keeps,
            format_func=_KEPT.__getitem__,
            on_change=lambda: _edit(shown, lambda b: b.keeping(place, cast(Keeps, held[keeps]))),
            help="What of the figure's own caption stands after yours.",
        )
        st.button(
            "Back to the figure's own",
            key=f"own-{place}",
            on_click=_edit,
            args=(shown, lambda b: b.with_caption(place, None)),
            help="Your caption is taken away.",
        )


def _open_file() -> None:
    with st.expander("Open a basket file, or add a figure.json"):
        st.file_uploader(
            "File",
            type=["json"],
            key=_UPLOAD,
            max_upload_size=8,
            on_change=_opened,
            help="A basket takes the place of yours, and Undo brings that back; a figure is added.",
        )


def _opened() -> None:
    file = st.session_state[_UPLOAD]
    if file is None:
        return

    def edit(basket: Basket) -> Basket:
        try:
            text = file.getvalue().decode("utf-8")
        except UnicodeDecodeError:
            raise StoreError("The file is no UTF-8 text: give a basket or a figure.json.") from None
        given = basket_in(text, f"the file {file.name}")
        return given if holds_basket(text) else Basket((*basket.entries, *given.entries))

    _edit(None, edit)


def _edit(since: str | None, edit: Edit) -> None:
    """Changes this user's basket, whose id goes into the address; a refusal is told."""
    try:
        state.write(basket=change(edit, since=since))
    except MechbenchError as error:
        st.session_state[_REFUSED] = str(error)
        state.write(basket=mine())


def _undo() -> None:
    state.write(basket=undo())


framed(draw)
