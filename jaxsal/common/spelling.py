"""A name that is none: what there is, and what was probably meant."""

import difflib
from collections.abc import Iterable


def unknown(what: str, name: object, known: Iterable[str]) -> str:
    """The words of an error about a name that is none of those known.

    Args:
        what: the argument that it was given to.
    """
    listed = list(known)
    text = str(name)[:100]
    near = difflib.get_close_matches(text.lower().replace("-", "_"), listed, n=1, cutoff=0.6)
    meant = f"; did you mean {near[0]!r}?" if near else ""
    return f"{what}: expected one of {', '.join(listed)}; got {text!r}{meant}"
