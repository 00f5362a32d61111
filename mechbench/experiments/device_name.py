"""The device that a run would work on, by name."""


def device_name(device: str | None) -> str:
    """``device``, or the one that is taken where none is named.

    Raises:
        SpecError: no such device here.
    """
    from mechbench.models.loading import find_device

    return str(find_device(device))
