"""Every block of Python in the documents runs as it stands, those of a page one after the other.

Sizes alone may be made smaller, by a comment before a block, and the address of a server is that of a
stand-in.
"""

import dataclasses

import pytest

from documents import PAGES, blocks, blocks_of

SERVER = "localhost:8501"
WITH_PYTHON = [page for page in PAGES if blocks(page, "python")]
NOT_RUN: dict[str, int] = {}  # Page: how many blocks of it are shown only.


@pytest.mark.parametrize("page", WITH_PYTHON)
def test_the_blocks_of_a_page_run_in_order(page, quickstart, monkeypatch, request):
    monkeypatch.chdir(quickstart)
    namespace = {"__name__": "__main__"}
    for block in blocks(page, "python"):
        if not block.not_run:
            if SERVER in block.code:
                kind = "calibrated_server" if "anomaly_scores" in block.code else "server"
                address = request.getfixturevalue(kind)
                block = dataclasses.replace(block, code=block.code.replace(SERVER, address))
            block.run(namespace)


def test_what_is_not_run_is_counted():
    shown = {page: sum(bool(b.not_run) for b in blocks(page, "python")) for page in WITH_PYTHON}
    assert {page: count for page, count in shown.items() if count} == NOT_RUN


def test_the_readme_has_a_dozen_lines_and_its_imports():
    first, *_ = blocks("README.md", "python")
    lines = first.code.split("\n\n")
    assert lines[0] == "import lcma_tf" and len(first.code.splitlines()) <= 12


PAGE = """
<!-- setup
four = 4
-->

<!-- test with: size=2 -->

```python
found = [dict(size=512)["size"], four]
```

<!-- not run: it would end the test -->

- in a list

  ```python
  raise SystemExit
  ```
"""


def test_what_a_comment_says_is_done():
    setup, first, second = blocks_of(PAGE, "page", "python", "bash")
    namespace = {}
    for block in (setup, first):
        block.run(namespace)
    assert namespace["found"] == [2, 4]
    assert (first.line, setup.line) == (9, 3)
    assert second.not_run == "it would end the test" and second.code == "raise SystemExit\n"


def test_an_error_names_page_and_line():
    (block,) = blocks_of("text\n\n```python\nfine = 1\nwrong()\n```\n", "page.md", "python")
    with pytest.raises(NameError) as error:
        block.run({})
    assert error.traceback[-1].lineno + 1 == 5 and str(error.traceback[-1].path) == "page.md"


def test_a_value_that_a_block_does_not_have_is_refused():
    with pytest.raises(ValueError, match="sets size, which"):
        blocks_of("<!-- test with: size=2 -->\n```python\nx = 1\n```\n", "page", "python")
