def run() -> None:
    """run."""
