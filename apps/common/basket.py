"""The basket of a user: figures collected on any page, kept in the store.

A basket is a file named by what it holds, so the link to one shows the same for ever, to whoever
has the link. A file of the owner's names the states of their own basket, the present one last.
"""

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from threading import Lock
from urllib.parse import urlencode

import streamlit as st

from apps.common.session import owner
from apps.common.settings import settings
from apps.common.state import PAGE, Hex
from apps.common.text import plain
from mechbench.errors import MechbenchError, StoreError
from mechbench.figures.basket import Basket
from mechbench.figures.spec import FigureSpec
from mechbench.results.files import read_text, write_atomically

BASKET = Hex("basket", 16)
MOST_FIGURES, MOST_BYTES, MOST_STATES = 60, 8_000_000, 50
_lock = Lock()  # two tabs of one user may add at the same time


def mine() -> str:
    """The id of this user's basket; "" before there is one."""
    return (_states() or [""])[-1]


def kept(basket_id: str) -> Basket:
    """The basket with this id.

    Raises:
        StoreError: there is none, or it is damaged.
    """
    return _kept(str(_file(basket_id)))


def change(edit: Callable[[Basket], Basket], *, since: str | None = None) -> str:
    """The id of this user's basket after ``edit``.

    Args:
        since: the id of the state that the user saw; where their basket has other figures by now,
            nothing is done, for places would mean others.

    Raises:
        MechbenchError: as the edit; too much in one basket; or it was changed in between.
    """
    with _lock:
        states = _states()
        now = states[-1] if states else ""
        if since is not None and _figures(since) != _figures(now):
            raise StoreError("Your basket was changed elsewhere in between; this is how it is now.")
        basket_id = _keep(edit(_or_empty(now)))
        if basket_id != now:
            _point([*(states or [_keep(Basket())]), basket_id])
        return basket_id


def undo() -> str:
    """The id of this user's basket as it was before its last change."""
    with _lock:
        states = _states()
        if len(states) > 1:
            _point(states[:-1])
        return mine()


def can_undo() -> bool:
    """True where the basket has an earlier state."""
    return len(_states()) > 1


def basket_button(figure: FigureSpec, key: str) -> None:
    """A button that puts the figure into this user's basket; ``key`` tells it from others."""
    st.button(
        "Add to basket",
        key=key,
        on_click=_add,
        args=(figure,),
        help="The page Figures orders what you collect, and makes one ZIP file for a paper of it.",
    )


def _add(figure: FigureSpec) -> None:
    text = figure.to_json()

    def edit(basket: Basket) -> Basket:
        if any(entry.figure.to_json() == text for entry in basket.entries):
            raise StoreError("This figure is in your basket already.")
        return basket.add(figure, source=_link())

    try:
        n = len(kept(change(edit)).entries)
    except MechbenchError as error:
        st.toast(plain(str(error)))
    else:
        st.toast(f"In the basket, which now has {n} figure{'s' if n > 1 else ''}.")


def _link() -> str:
    """The part of the address after the host, which shows this page again."""
    page = st.session_state.get(PAGE, "")
    query = urlencode(st.query_params.to_dict())
    return f"dashboard /{page}" + (f"?{query}" if query else "")


def _or_empty(basket_id: str) -> Basket:
    return kept(basket_id) if basket_id else Basket()


def _figures(basket_id: str) -> list[str]:
    return [entry.figure.to_json() for entry in _or_empty(basket_id).entries]


def _keep(basket: Basket) -> str:
    text = basket.to_json()
    if len(basket.entries) > MOST_FIGURES or len(text) > MOST_BYTES:
        raise StoreError(
            f"A basket holds at most {MOST_FIGURES} figures and {MOST_BYTES // 10**6} MB: export "
            "this one, and begin another."
        )
    basket_id = sha256(text.encode()).hexdigest()[: BASKET.length]
    path = _file(basket_id)
    if not path.is_file():
        write_atomically(path, text)
    return basket_id


@st.cache_resource(show_spinner=False, max_entries=32)
def _kept(path: str) -> Basket:
    return Basket.from_json(read_text(Path(path), "basket"))


def _states() -> list[str]:
    path = _own_file()
    return read_text(path, "list of baskets").split() if path.is_file() else []


def _point(states: list[str]) -> None:
    write_atomically(_own_file(), "".join(f"{state}\n" for state in states[-MOST_STATES:]))


def _file(basket_id: str) -> Path:
    return settings().store / "baskets" / f"{basket_id}.basket.json"


def _own_file() -> Path:
    return settings().store / "baskets" / "owners" / f"{owner()}.txt"
