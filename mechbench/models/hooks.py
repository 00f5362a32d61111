"""Names of hook points: which exist, which a filter means, and what to say when none does."""

from collections.abc import Callable, Iterable, Sequence

from transformer_lens.hook_points import HookPoint

from mechbench.errors import HookNameError, did_you_mean

NamesFilter = str | Sequence[str] | Callable[[str], bool] | None


def is_hooked(point: HookPoint) -> bool:
    """Whether anything reads or writes this hook point at the moment."""
    return bool(point._forward_hooks or point._backward_hooks)


def matching_names(names_filter: NamesFilter, known: Iterable[str]) -> list[str]:
    """The known hook names that a filter means, in model order.

    Raises:
        HookNameError: for a name that is not a hook point, or a filter that matches none. The
            message offers the closest names.
    """
    known = list(known)
    if names_filter is None:
        return known
    if callable(names_filter):
        names = [name for name in known if names_filter(name)]
        if not names:
            raise HookNameError(
                "The hook filter matches none of this model's "
                f"{len(known)} hook points. {did_you_mean('hook', known)}"
            )
        return names
    wanted = [names_filter] if isinstance(names_filter, str) else list(names_filter)
    if not wanted:
        raise HookNameError("The hook filter is an empty list: name at least one hook point.")
    for name in wanted:
        if name not in known:
            raise HookNameError(
                f"No hook point is called {name!r} on this model. {did_you_mean(name, known)}"
            )
    return [name for name in known if name in set(wanted)]
