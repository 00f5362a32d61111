"""The state of a page, which is its address: typed parameters, read, checked and written."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import streamlit as st


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


Param = Choice | Whole | Text | Hex


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
            f"Shown instead: {param.default if param.default is not None else 'nothing chosen'}."
        )
        return param.default


def write(**values: Any) -> None:
    """Puts the values into the address; None takes a parameter out."""
    for name, value in values.items():
        if value is None or value == "":
            st.query_params.pop(name, None)
        elif st.query_params.get(name) != str(value):
            st.query_params[name] = str(value)


def select(label: str, param: Choice, *, help: str) -> str:
    """The option that a select box, which follows the address, shows."""
    index = list(param.options).index(read(param))
    key = f"url-{param.name}"
    given: dict[str, Any] = {"index": index} if key not in st.session_state else {}
    chosen = st.selectbox(
        label, param.options, key=key, help=help, on_change=_keep, args=(param.name,), **given
    )
    return chosen or param.default


def number(label: str, param: Whole, *, help: str) -> int:
    """The whole number in a field that follows the address."""
    value = read(param)
    key = f"url-{param.name}"
    given: dict[str, Any] = {"value": value} if key not in st.session_state else {}
    entered = st.number_input(
        label,
        min_value=param.low,
        max_value=param.high,
        step=1,
        key=key,
        help=help,
        on_change=_keep,
        args=(param.name,),
        **given,
    )
    return int(entered)


def field(label: str, param: Text, *, help: str) -> str:
    """The text in a field that follows the address."""
    value = read(param)
    key = f"url-{param.name}"
    given: dict[str, Any] = {"value": value} if key not in st.session_state else {}
    entered = st.text_input(
        label,
        key=key,
        help=help,
        max_chars=param.longest,
        on_change=_keep,
        args=(param.name,),
        **given,
    )
    return entered or ""


def _keep(name: str) -> None:
    write(**{name: st.session_state[f"url-{name}"]})
