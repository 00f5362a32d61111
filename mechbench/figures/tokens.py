"""Tokens as labels of figures."""


def shown_token(text: str) -> str:
    """A token with each space as a raised dot, so that " A" and "A" differ."""
    return str(text).replace(" ", "·")
