"""Models that stay loaded, so that several users of one process share them."""

import gc
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from mechbench.errors import MechbenchError
from mechbench.experiments.spec import ModelPart


@dataclass(frozen=True)
class LoadedModel:
    """A line of the list of loaded models; ``nbytes`` are those of parameters and buffers."""

    name: str
    snapshot: int | None
    device: str
    dtype: str
    nbytes: int


@dataclass
class _Entry:
    part: ModelPart
    lock: Lock = field(default_factory=Lock)
    model: Any = None


class ModelPool:
    """Up to ``most`` models; the one that was not used for the longest time is released.

    One caller at a time has a model, because hooks are set on it; others wait for that model alone.
    """

    def __init__(self, load: Callable[[ModelPart, str | None], Any], *, most: int = 2):
        if most < 1:
            raise MechbenchError(f"A pool keeps at least one model, got most={most}.")
        self._load, self._most = load, most
        self._lock = Lock()  # held for looking up only, never while a model loads or works
        self._entries: OrderedDict[tuple[str, str | None], _Entry] = OrderedDict()

    @contextmanager
    def use(self, part: ModelPart, device: str | None = None) -> Iterator[Any]:
        """The model, loaded if need be, for this caller alone.

        Raises:
            MechbenchError: as ``load_model``; nothing is kept then.
        """
        key = (part.model_dump_json(), device)
        entry = self._entry(key, part)
        with entry.lock:
            if entry.model is None:
                try:
                    entry.model = self._load(part, device)
                except BaseException:
                    self._forget(key, entry)
                    raise
            yield entry.model

    def loaded(self) -> list[LoadedModel]:
        """The loaded models, the last used one last."""
        with self._lock:
            entries = list(self._entries.values())
        models = [(entry.part, entry.model) for entry in entries]
        return [_line(part, model) for part, model in models if model is not None]

    def release(self, line: LoadedModel) -> None:
        """Lets the models go that a line of ``loaded()`` tells of; one at work goes afterwards."""
        with self._lock:
            gone = [
                key
                for key, entry in self._entries.items()
                if entry.model is not None and _line(entry.part, entry.model) == line
            ]
            for key in gone:
                del self._entries[key]
        gc.collect()

    def _entry(self, key: tuple[str, str | None], part: ModelPart) -> _Entry:
        with self._lock:
            entry = self._entries.setdefault(key, _Entry(part))
            self._entries.move_to_end(key)
            released = [self._entries.popitem(last=False)[1] for _ in self._too_many()]
        if released:
            del released  # a model that still works goes when its caller is done
            gc.collect()
        return entry

    def _too_many(self) -> range:
        return range(max(len(self._entries) - self._most, 0))

    def _forget(self, key: tuple[str, str | None], entry: _Entry) -> None:
        with self._lock:
            if self._entries.get(key) is entry:
                del self._entries[key]


def _line(part: ModelPart, model: Any) -> LoadedModel:
    tensors = [*model.parameters(), *model.buffers()]
    nbytes = sum(tensor.nbytes for tensor in tensors)
    return LoadedModel(part.name, part.snapshot, str(model.cfg.device), part.dtype, nbytes)
