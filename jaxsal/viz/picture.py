"""The figure that all of `jaxsal.viz` draws on: it shows itself in a notebook."""

import io
import warnings
from typing import Any

from matplotlib.figure import Figure as Figure

from jaxsal.viz.style import styled


class Picture(Figure):
    """A matplotlib figure without pyplot; a cell of a notebook that ends in one shows it."""

    @styled
    def draw(self, renderer: Any) -> None:
        """Draws with the style that it was made with: ticks are made only now.

        A letter that no font has is a box, and is not worth a warning at each drawing.
        """
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r"Glyph \d+")
            super().draw(renderer)

    def _repr_png_(self) -> bytes:
        return png(self)


@styled
def png(figure: Figure, *, dpi: float | int | None = None) -> bytes:
    """The figure as the bytes of a PNG file; the same figure gives the same bytes.

    Args:
        dpi: pixels an inch; None: the figure's own, at which no pixel of an image is lost.
    """
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph \d+")
        figure.savefig(
            buffer,
            format="png",
            dpi=figure.dpi if dpi is None else dpi,
            facecolor="white",
            metadata={"Software": None},
        )
    return buffer.getvalue()
