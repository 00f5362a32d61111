"""What surrounds every page: errors in words, never as a stack trace."""

import logging
from collections.abc import Callable

import streamlit as st

from apps.common.text import plain
from mechbench.errors import MechbenchError

_log = logging.getLogger(__name__)


def framed(draw: Callable[[], None]) -> None:
    """Draws a page; what goes wrong is told in words and, if it is a defect, kept in the log."""
    try:
        draw()
    except MechbenchError as error:
        st.error(plain(str(error)))
    except Exception:
        _log.exception("a page failed")
        st.error(
            "This page met a defect of mechbench. The terminal in which the dashboard runs has the "
            "details; the address of this page shows what to repeat."
        )
