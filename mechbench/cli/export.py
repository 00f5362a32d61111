def export() -> None:
    """export."""
