"""Numbers in words."""

import re

PLURAL = re.compile(r"\b(file|image|mask|patient|row|scan|slice|volume)s\b")


def counted(count: int, what: str) -> str:
    """`3 images without a mask`, `1 image without a mask`: of one the first plural has no s."""
    said = PLURAL.sub(r"\1", what, count=1) if count == 1 else what
    return f"{count} {said}"
