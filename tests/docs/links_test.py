"""What the documents point to is there: files, headings, names of the API; and no figure differs."""

import importlib
import re

import pytest

import lcma_tf
from documents import NOTEBOOKS, PAGES, ROOT, anchors, links, read


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_files_and_headings(page):
    for path, anchor in links(page):
        assert (ROOT / path).is_file(), f"{page} links to {path}, which is no file."
        if anchor:
            assert anchor in anchors(path), f"{page} links to {path}#{anchor}; no such heading."


def test_every_page_and_notebook_can_be_reached_from_the_readme():
    reached, waiting = set(), ["README.md"]
    while waiting:
        page = waiting.pop()
        reached.add(page)
        if page.endswith(".md"):
            waiting += [path for path, _ in links(page) if path not in reached]
    assert {*PAGES, *NOTEBOOKS} <= reached


def test_the_pages_that_sources_name_are_there():
    named = {
        page
        for pattern in ("lcma_tf/**/*.py", "export/**/*", "configs/*", "tests/**/*.py", "*.toml")
        for path in ROOT.glob(pattern)
        if path.suffix in (".py", ".flags", ".sh", ".yml", ".config", ".txt", ".toml")
        for page in re.findall(r"docs/\w+\.md", path.read_text())
    }
    assert {"docs/results.md", "docs/paper.md", "docs/faults.md"} <= named
    assert {page for page in named if not (ROOT / page).is_file()} == set()


def resolved(name):
    """The object of a dotted name."""
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)


def test_the_api_page_has_every_public_name():
    page = read("docs/api.md")
    listed = re.findall(r"^::: ([\w.]+)$", page, flags=re.MULTILINE)
    assert len(listed) == len(set(listed))
    for name in listed:
        resolved(name)
    modules = ("lcma_tf.bijectors", "lcma_tf.data")
    public = {f"lcma_tf.{name}" for name in lcma_tf.__all__ if f"lcma_tf.{name}" not in MODULES}
    public |= {f"{m}.{name}" for m in modules for name in importlib.import_module(m).__all__}
    # `lcma_tf.train` is a module to whoever reads sources: the function stands under this heading.
    assert public <= {*listed, *re.findall(r"heading: ([\w.]+)", page)}


MODULES = {f"lcma_tf.{name}" for name in ("bijectors", "choices", "data", "flows", "networks")}


def test_the_figures_of_the_readme_are_those_of_the_results():
    """A measured figure is in one place; what the README repeats of it is the same."""
    figures = set(re.findall(r"\d+\.\d{3}\b", read("README.md")))
    assert len(figures) >= 14
    assert figures <= set(re.findall(r"\d+\.\d{3}\b", read("docs/results.md")))


def test_every_term_of_the_paper_has_its_file():
    terms = read("docs/paper.md").partition("## Terms")[2].partition("\n## ")[0]
    for word in ("contribution", "factorization", "split", "coupling", "squeez"):
        (row, *_) = [line for line in terms.splitlines() if word in line]
        assert "](../lcma_tf/" in row
