"""Reading a config file key by key, so that no key is silently ignored."""

from collections.abc import Mapping, Sequence
from typing import Any

from mechbench.errors import did_you_mean


class ConfigKeys:
    """The keys of a config file. Every key must be read, checked or named as meaningless.

    Problems are collected in ``problems`` and never raised here. ``usable`` turns False where a
    value cannot stand in the config at all, so that nothing sensible can be built from it.
    """

    def __init__(self, values: Mapping[str, Any]):
        self._values = values
        self._seen: set[str] = set()
        self.problems: list[str] = []
        self.usable = True

    def size(self, key: str, default: int | None) -> int:
        """A positive whole number; ``default`` where the key is absent, None to require it."""
        value = self._read(key, default)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
        self._unusable(f"{key} = {value!r}, which must be a positive whole number")
        return 1

    def number(self, key: str, default: float) -> float:
        """A positive number; ``default`` where the key is absent."""
        value = self._read(key, default)
        if isinstance(value, int | float) and not isinstance(value, bool) and value > 0:
            return float(value)
        self._unusable(f"{key} = {value!r}, which must be a positive number")
        return 1.0

    def flag(self, key: str, default: bool) -> bool:
        """True or false; ``default`` where the key is absent."""
        value = self._read(key, default)
        if isinstance(value, bool):
            return value
        self._unusable(f"{key} = {value!r}, which must be true or false")
        return default

    def get(self, key: str) -> Any:
        """The value as it stands, None where the key is absent."""
        return self._read(key, None)

    def expect(self, key: str, supported: Sequence[Any]) -> None:
        """Note a problem unless the key is absent or has one of the supported values."""
        value = self._read(key, supported[0])
        if value not in supported:
            shown = " or ".join(repr(v) for v in supported)
            self.problems.append(f"{key} = {value!r} is not supported (supported: {shown})")

    def ignore(self, keys: Sequence[str] | frozenset[str]) -> None:
        """Say that these keys do not change what the model computes."""
        self._seen.update(keys)

    def note(self, problem: str) -> None:
        """Add a problem that makes the config unusable."""
        self._unusable(problem)

    def check_all_seen(self) -> None:
        """Note every key that nobody read."""
        for key in self._values:
            if key not in self._seen:
                hint = did_you_mean(key, self._seen)
                self.problems.append(
                    f"{key} = {self._values[key]!r} is a key that is not known. {hint}"
                )

    def _read(self, key: str, default: Any) -> Any:
        self._seen.add(key)
        return self._values.get(key, default)

    def _unusable(self, problem: str) -> None:
        self.problems.append(problem)
        self.usable = False
