"""Who the user is, and what all users of this process share: the queue and the loaded models."""

import atexit
from functools import cache
from hashlib import sha256
from itertools import cycle
from pathlib import Path
from secrets import token_hex
from typing import Any

import streamlit as st

from apps.common.settings import settings
from mechbench.experiments.job import Job
from mechbench.experiments.jobs import JobQueue
from mechbench.experiments.model_pool import ModelPool
from mechbench.experiments.spec import ExperimentSpec, ModelPart
from mechbench.experiments.workers import Workers
from mechbench.results.run import Run
from mechbench.results.store import RunStore

_COOKIE = "_streamlit_xsrf"  # set by the server, the same after a reload, unknown to other users
_KEY = "owner"


def owner() -> str:
    """A name for this user that tells nothing about them and stays the same after a reload."""
    if settings().login:
        return _named(str(st.user.get("email") or st.user.get("sub")))
    token = _browser_token(str(st.context.cookies.get(_COOKIE)))
    if token is not None:
        return _named(token)
    return st.session_state.setdefault(_KEY, token_hex(8))


def _browser_token(cookie: str) -> str | None:
    """The secret of a browser from "2|mask|masked secret|time", None where it is not of this form.

    The server masks the same secret anew now and then, so the cookie itself may change.
    """
    match cookie.split("|"):
        case ["2", mask, masked, _]:
            try:
                key, hidden = bytes.fromhex(mask), bytes.fromhex(masked)
            except ValueError:
                return None
            pairs = zip(hidden, cycle(key), strict=False)
            return bytes(byte ^ other for byte, other in pairs).hex() if key and hidden else None
    return None


def store() -> RunStore:
    """The store of the runs."""
    return RunStore(settings().store)


@cache  # as long as the process, whatever happens to Streamlit's caches
def workers() -> Workers:
    """The processes that carry out jobs, one for each device."""
    found = Workers()
    atexit.register(found.close)
    return found


@st.cache_resource(show_spinner=False)
def _queue(root: str) -> JobQueue:
    return JobQueue(RunStore(Path(root)), _carry_out)


def queue() -> JobQueue:
    """The background jobs of this process, on the runs of the store."""
    return _queue(str(settings().store))


def _carry_out(spec: ExperimentSpec, run: Run, job: Job) -> None:
    workers().carry_out(spec, run, job)


@st.cache_resource(show_spinner=False)
def pool() -> ModelPool:
    """Models for questions that are answered at once; jobs load their own, in their process."""
    return ModelPool(_load, most=2)


def _load(part: ModelPart, device: str | None) -> Any:
    from mechbench.experiments.runner import load_part

    return load_part(part, device)


def _named(secret: str) -> str:
    return sha256(secret.encode()).hexdigest()[:16]
