"""The state of a page, which is its address: typed parameters, read, checked and written.

A control writes what it shows into the address, also where nobody changed it, so that a link shows
the same after a default was changed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import streamlit as st

PAGE = "page"  # in the session: the path of the page that is shown


@dataclass(frozen=True)
class Choice:
    """One of ``options``."""

    name: str
    options: Sequence[str]
    default: str

    def parse(self, text: str) -> str:
        """The option; ValueError says what is expected."""
        if text not in self.options:
            few = ", ".join(self.options[:6]) + (", ..." if len(self.options) > 6 else "")
            raise ValueError(f"one of {few}" if self.options else "nothing, for there is no choice")
        return text


@dataclass(frozen=True)
class Whole:
    """A whole number from ``low`` to ``high``; None where it is not given and has no default."""

    name: str
    low: int
    high: int
    default: int | None = None

    def parse(self, text: str) -> int:
        """The number; ValueError says what is expected."""
        digits = text.removeprefix("-")
        if digits.isascii() and digits.isdigit() and len(digits) < 10:
            if self.low <= int(text) <= self.high:
                return int(text)
        raise ValueError(f"a whole number from {self.low} to {self.high}")


@dataclass(frozen=True)
class Text:
    """Text of at most ``longest`` characters."""

    name: str
    default: str = ""
    longest: int = 200

    def parse(self, text: str) -> str:
        """The text; ValueError says what is expected."""
        if len(text) > self.longest:
            raise ValueError(f"at most {self.longest} characters")
        return text


@dataclass(frozen=True)
class Hex:
    """``length`` hexadecimal digits, as ids have; so it is safe as part of a file's name."""

    name: str
    length: int
    default: str = ""

    def parse(self, text: str) -> str:
        """The id; ValueError says what is expected."""
        if len(text) != self.length or not set(text) <= set("0123456789abcdef"):
            raise ValueError(f"{self.length} hexadecimal digits")
        return text


@dataclass(frozen=True)
class Real:
    """A number from ``low`` to ``high``."""

    name: str
    low: float
    high: float
    default: float

    def parse(self, text: str) -> float:
        """The number; ValueError says what is expected."""
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not self.low <= value <= self.high:
            raise ValueError(f"a number from {self.low:g} to {self.high:g}")
        return value


@dataclass(frozen=True)
class Flag:
    """Yes (1) or no (0)."""

    name: str
    default: bool = False

    def parse(self, text: str) -> bool:
        """True or False; ValueError says what is expected."""
        if text not in ("0", "1"):
            raise ValueError("0 or 1")
        return text == "1"


@dataclass(frozen=True)
class Several:
    """Some of ``options``, in any order; with commas between them."""

    name: str
    options: Sequence[str]
    default: tuple[str, ...] = ()

    def parse(self, text: str) -> tuple[str, ...]:
        """The options; ValueError says what is expected."""
        chosen = tuple(part for part in text.split(",") if part)
        if not set(chosen) <= set(self.options):
            few = ", ".join(self.options[:6]) + (", ..." if len(self.options) > 6 else "")
            raise ValueError(f"some of {few}, with commas between them")
        return chosen


Param = Choice | Whole | Text | Hex | Real | Flag | Several


def read(param: Param) -> Any:
    """The parameter's value in the address; its default where it is absent or bad."""
    text = st.query_params.get(param.name)
    if text is None:
        return param.default
    try:
        return param.parse(text)
    except ValueError as error:
        shown = text if len(text) <= 60 else text[:60] + "..."
        st.warning(
            f"The address has {param.name}={shown!r}; expected: {error}. "
            f"Shown instead: {'nothing chosen' if param.default in (None, '') else param.default}."
        )
        return param.default


def write(**values: Any) -> None:
    """Puts the values into the address; None and what is empty take a parameter out."""
    for name, value in values.items():
        text = _as_text(value)
        if not text:
            st.query_params.pop(name, None)
        elif st.query_params.get(name) != text:
            st.query_params[name] = text


def follow(**values: Any) -> None:
    """Like ``write``, for the callback of what is clicked: controls of these parameters follow."""
    for name, value in values.items():
        if f"url-{name}" in st.session_state:
            st.session_state[f"url-{name}"] = value
    write(**values)


def select(label: str, param: Choice, *, help: str, words: Callable[[str], str] = str) -> str:
    """The option that a select box, which follows the address, shows; as ``words`` tells it."""
    index = list(param.options).index(read(param))
    given = _unless_held(param, index=index)
    common = {**_common(param, help), "format_func": words}
    chosen = st.selectbox(label, param.options, **common, **given)
    return _kept(param, chosen or param.default)


def radio(label: str, param: Choice, *, help: str, words: Callable[[str], str] = str) -> str:
    """The option that is chosen among all of them in a row, which follows the address."""
    index = list(param.options).index(read(param))
    given = _unless_held(param, index=index)
    common = {**_common(param, help), "format_func": words, "horizontal": True}
    return _kept(param, st.radio(label, param.options, **common, **given) or param.default)


def number(label: str, param: Whole, *, help: str) -> int:
    """The whole number in a field that follows the address."""
    given = _unless_held(param, value=read(param))
    limits = {"min_value": param.low, "max_value": param.high, "step": 1}
    return _kept(param, int(st.number_input(label, **limits, **_common(param, help), **given)))


def slider(label: str, param: Real, *, help: str, step: float) -> float:
    """The number on a slider that follows the address."""
    given = _unless_held(param, value=float(read(param)))
    limits = {"min_value": float(param.low), "max_value": float(param.high), "step": step}
    return _kept(param, float(st.slider(label, **limits, **_common(param, help), **given)))


def field(label: str, param: Text, *, help: str) -> str:
    """The text in a field that follows the address."""
    given = _unless_held(param, value=read(param))
    longest = {"max_chars": param.longest}
    return _kept(param, st.text_input(label, **longest, **_common(param, help), **given) or "")


def toggle(label: str, param: Flag, *, help: str) -> bool:
    """Whether a switch that follows the address is on."""
    given = _unless_held(param, value=read(param))
    return _kept(param, bool(st.toggle(label, **_common(param, help), **given)))


def several(label: str, param: Several, *, help: str) -> tuple[str, ...]:
    """The options that are chosen in a list that follows the address."""
    given = _unless_held(param, default=list(read(param)))
    chosen = st.multiselect(label, param.options, **_common(param, help), **given)
    return _kept(param, tuple(chosen))


def forget_unless(name: str, options: Sequence[str]) -> None:
    """Forgets a choice that is no longer offered, before its control is drawn.

    So that another control, which changes what is offered, does not leave a choice that is none.
    """
    held = st.session_state.get(f"url-{name}")
    if held is not None and held not in options:
        del st.session_state[f"url-{name}"]
        st.query_params.pop(name, None)


def tab(param: Choice) -> tuple[str, Any]:
    """Name and container of the open one of some tabs that follow the address; draw only there."""
    key, name = _key(param), read(param)
    st.session_state[key] = name  # a click has written the address before
    tabs = st.tabs(list(param.options), key=key, on_change=_keep_tab, args=(param.name, key))
    return _kept(param, name), tabs[list(param.options).index(name)]


def _keep_tab(name: str, key: str) -> None:
    write(**{name: st.session_state[key]})


def _common(param: Param, help: str) -> dict[str, Any]:
    return {"key": _key(param), "help": help}


def _unless_held(param: Param, **shown: Any) -> dict[str, Any]:
    """What a control shows at first; the session holds it from then on."""
    return {} if _key(param) in st.session_state else shown


def _kept(param: Param, value: Any) -> Any:
    none_of_several = value == () and param.default
    write(**{param.name: "," if none_of_several else value})
    return value


def _key(param: Param) -> str:
    return f"url-{param.name}"


def _as_text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, float):
        return f"{value:g}"
    return ",".join(value) if isinstance(value, tuple) else str(value)
