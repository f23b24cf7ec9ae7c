"""A notebook shows pictures without a magic: run as Jupyter runs it."""

import base64
from pathlib import Path

import numpy as np
import pytest

from jaxsal import render

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

CELLS = (
    "import numpy as np, jaxsal\nfrom jaxsal.viz import charts",
    "jaxsal.show(np.eye(8), np.eye(8))",
    "charts.confusion([[2, 1], [0, 3]], ['$a', 'b$'])",
)


@pytest.mark.filterwarnings("ignore")  # of pyzmq, tornado and others about themselves
def test_a_notebook_shows_what_a_cell_ends_in(tmp_path, monkeypatch) -> None:
    root = str(Path(__file__).parent.parent.parent)
    monkeypatch.setenv("PYTHONPATH", root)
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    cells = [nbformat.v4.new_code_cell(cell) for cell in CELLS]
    book = nbformat.v4.new_notebook(cells=cells)
    nbclient.NotebookClient(book, timeout=120, kernel_name="python3").execute()
    for cell in book.cells[1:]:
        [output] = [each for each in cell.outputs if "data" in each]
        assert base64.b64decode(output.data["image/png"]).startswith(b"\x89PNG")


def test_a_figure_is_its_own_picture() -> None:
    figure = render.explanation(np.eye(8), {"m": np.eye(8)})
    assert figure._repr_png_() == render.png(figure)
