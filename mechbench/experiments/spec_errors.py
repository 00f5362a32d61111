"""What is wrong with a spec, in words: unknown keys with the nearest valid one."""

from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from mechbench.errors import did_you_mean


def describe(error: ValidationError, root: type[BaseModel]) -> str:
    """Every problem of a failed validation against ``root``, in one sentence each."""
    return " ".join(_sentence(problem, root) for problem in error.errors())


def _sentence(problem: Any, root: type[BaseModel]) -> str:
    location = problem["loc"]
    place = ".".join(str(part) for part in location)
    if problem["type"] == "extra_forbidden":
        key = str(location[-1])
        inside = f" in {'.'.join(map(str, location[:-1]))!r}" if len(location) > 1 else ""
        return f"Unknown key {key!r}{inside}. {did_you_mean(key, _known_keys(root, location[:-1]))}"
    if problem["type"] == "missing":
        return f"The key {place!r} is missing."
    message = problem["msg"].removeprefix("Value error, ")
    given = problem["input"]
    if not place or isinstance(given, dict | list):
        return f"{place + ': ' if place else ''}{message}."
    return f"{place!r} is {given!r}: {message[0].lower()}{message[1:]}."


def _known_keys(root: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    model = root
    for part in location:
        if isinstance(part, str):
            model = _model_of(model.model_fields[part].annotation)
    return list(model.model_fields)


def _model_of(annotation: Any) -> type[BaseModel]:
    candidates = (annotation, *get_args(annotation))
    return next(c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel))
