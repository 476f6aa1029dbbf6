"""The notebooks run, cell by cell, at the size that their first cell has for it."""

import matplotlib
import pytest

from documents import NOTEBOOKS, notebook_cells


@pytest.mark.parametrize("notebook", NOTEBOOKS)
def test_a_notebook_runs_at_smoke_size(notebook, tmp_path, monkeypatch, request):
    cells, _ = notebook_cells(notebook)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LCMA_SMOKE", "1")
    if any("LCMA_SERVER" in source for _, source in cells):
        monkeypatch.setenv("LCMA_SERVER", request.getfixturevalue("server"))
    matplotlib.use("Agg")
    from matplotlib import pyplot

    namespace = {"__name__": "__main__"}
    try:
        for number, (kind, source) in enumerate(cells):
            if kind == "code":
                exec(compile(source, f"{notebook}, cell {number}", "exec"), namespace)
    finally:
        pyplot.close("all")


@pytest.mark.parametrize("notebook", NOTEBOOKS)
def test_a_notebook_is_kept_without_outputs_and_with_one_place_of_sizes(notebook):
    cells, content = notebook_cells(notebook)
    code = [cell for cell in content["cells"] if cell["cell_type"] == "code"]
    assert content["nbformat"] == 4
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    assert cells[0][0] == "markdown" and cells[0][1].startswith("# ")
    first = next(source for kind, source in cells if kind == "code")
    assert "SIZES = " in first and 'os.environ.get("LCMA_SMOKE")' in first
