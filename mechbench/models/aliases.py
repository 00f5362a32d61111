"""TransformerLens' names for the hook points of a bridged model."""

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any, Literal

from torch import Tensor
from transformer_lens.hook_points import HookPoint


class AliasedPoint(HookPoint):
    """A bridge's hook point under one of its other names, which hooks read as ``hook.name``.

    Hooks sit on the bridge's own point, which also converts between the layouts of the wrapped
    model and of TransformerLens.
    """

    point: HookPoint

    def __init__(self, name: str, point: HookPoint):
        super().__init__()
        object.__setattr__(self, "point", point)  # not a submodule: the bridge owns it
        self.name = name
        self._forward_hooks = point._forward_hooks
        self._backward_hooks = point._backward_hooks

    def add_hook(self, hook: Callable, *args: Any, **options: Any) -> Any:
        def under_this_name(tensor: Tensor, hook: HookPoint, _fn: Callable = hook) -> Any:
            return _fn(tensor, hook=self)

        return self.point.add_hook(under_this_name, *args, **options)

    def remove_hooks(
        self, dir: Literal["fwd", "bwd", "both"] = "fwd", *args: Any, **options: Any
    ) -> None:
        self.point.remove_hooks(dir, *args, **options)

    def has_hooks(self, *args: Any, **options: Any) -> bool:
        return self.point.has_hooks(*args, **options)


def aliased_points(by_name: Mapping[str, HookPoint]) -> dict[str, HookPoint]:
    """The hook points under TransformerLens' names; under the bridge's own where it has no other.

    A ``hook_in`` without another name repeats what its neighbour carries, and is left out.
    """
    names: defaultdict[int, list[str]] = defaultdict(list)
    for name, point in by_name.items():
        names[id(point)].append(name)
    found: dict[str, HookPoint] = {}
    for name, point in by_name.items():
        aliases = [n for n in names[id(point)] if not n.endswith((".hook_in", ".hook_out"))]
        if name in aliases or not (aliases or name.endswith(".hook_in")):
            found[name] = AliasedPoint(name, point)
    return found
