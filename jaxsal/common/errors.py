"""Errors as text."""


def one_line(error: BaseException) -> str:
    """Its type and its message on one line, as `ValueError: steps: expected ...`."""
    return " ".join(f"{type(error).__name__}: {error}".split())
