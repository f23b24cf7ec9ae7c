"""A name that is none: what there is, and what was probably meant."""

import difflib
from collections.abc import Iterable


def unknown(what: str, name: object, known: Iterable[str], *, listed_by: str = "") -> str:
    """The words of an error about a name that is none of those known.

    Args:
        what: the argument that it was given to.
        listed_by: the command that lists them, where a line has no room for all.
    """
    listed = list(known)
    text = str(name)[:100]
    near = difflib.get_close_matches(text.lower().replace("-", "_"), listed, n=1, cutoff=0.6)
    meant = f"; did you mean {near[0]!r}?" if near else ""
    expected = f"a name that `{listed_by}` lists" if listed_by else f"one of {', '.join(listed)}"
    return f"{what}: expected {expected}; got {text!r}{meant}"
