def runs() -> None:
    """List."""
def show() -> None:
    """Show."""
