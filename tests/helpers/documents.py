"""The documents as the tests read them: pages, their blocks of code, what a comment says of a block.

Before a block may stand an HTML comment that no reader of the page sees:

    <!-- not run: why -->              the block is shown, and not run
    <!-- test with: base_dim=2 -->     these values stand in the place of the page's own
    <!-- setup (newline) code -->      code that runs before the next block
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shlex
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (
        *ROOT.glob("*.md"),
        *(ROOT / "docs").glob("*.md"),
        *(ROOT / folder / "README.md" for folder in ("configs", "benchmarks", "export/serving")),
    )
)
NOTEBOOKS = sorted(
    path.relative_to(ROOT).as_posix() for path in (ROOT / "notebooks").glob("*.ipynb")
)
_COMMENT = re.compile(r"^<!--\s*(not run|test with|setup)\b:?(.*?)-->", re.DOTALL | re.MULTILINE)
_BLOCK = re.compile(r"^( *)```(\w+)\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)


@dataclasses.dataclass(frozen=True)
class Block:
    """A block of code; `line` is that of its first line in the page."""

    page: str
    line: int
    language: str
    code: str
    not_run: str = ""

    def run(self, namespace):
        """Executes Python; an error names page and line."""
        padded = "\n" * (self.line - 1) + self.code
        exec(compile(padded, self.page, "exec"), namespace)


def read(page):
    return (ROOT / page).read_text()


def blocks(page, *languages):
    """The blocks of a page in these languages, in order, with what comments say applied."""
    return blocks_of(read(page), page, *languages)


def blocks_of(text, page, *languages):
    """The same of the text of a page."""
    found, end = [], 0
    for match in _BLOCK.finditer(text):
        before, end = text[end : match.start()], match.end()
        line = text.count("\n", 0, match.start(3)) + 1
        indent, language, code = match.groups()
        code = re.sub(f"^{indent}", "", code, flags=re.MULTILINE)
        not_run = ""
        for comment in _COMMENT.finditer(before):
            kind, content = comment[1], comment[2].strip()
            if kind == "setup":
                setup_line = line - before.count("\n", comment.start()) + 1
                found.append(Block(page, setup_line - 1, "python", content + "\n"))
            elif kind == "test with":
                code = _with_values(code, content)
            else:
                not_run = content
        found.append(Block(page, line, language, code, not_run))
    return [block for block in found if block.language in languages]


def _with_values(code, values):
    for value in values.split(","):
        name, _, new = value.strip().partition("=")
        code, count = re.subn(rf"\b{name}=[\w.\"]+", f"{name}={new}", code)
        if not count:
            raise ValueError(
                f"A comment sets {name}, which the block after it does not have: {code!r}."
            )
    return code


def commands(page):
    """The commands of the page's blocks for a shell: (line, {variable: value}, words)."""
    for block in blocks(page, "bash", "sh", "shell"):
        for line, text in _lines(block):
            for command in _split(shlex.split(text, comments=True)):
                variables = {}
                while command and re.fullmatch(r"[A-Z_]+=.*", command[0]):
                    name, _, value = command.pop(0).partition("=")
                    variables[name] = value
                if command or variables:
                    yield line, variables, command


def _lines(block):
    text, first = "", block.line
    for number, line in enumerate(block.code.splitlines(), start=block.line):
        first = first if text else number
        text += line.removesuffix("\\")
        if not line.endswith("\\"):
            yield first, text
            text = ""


def _split(words):
    command = []
    for word in [*words, "&&"]:
        if word == "&&":
            yield command
            command = []
        else:
            command.append(word)


def links(page):
    """The links of a page that stay in the repository: (path from the root, anchor or '')."""
    text = re.sub(r"```.*?```", "", read(page), flags=re.DOTALL)
    for path, anchor in re.findall(r"\]\((?!\w+:)([^)#\s]*)(?:#([^)\s]*))?\)", text):
        folder = os.path.dirname(page)
        yield os.path.normpath(os.path.join(folder, path)) if path else page, anchor


def anchors(page):
    """The anchors of a page's headings, as GitHub and MkDocs make them."""
    text = re.sub(r"```.*?```", "", read(page), flags=re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def notebook_cells(notebook):
    """A notebook's cells: (kind, source), and its whole content."""
    content = json.loads(read(notebook))
    return [(cell["cell_type"], "".join(cell["source"])) for cell in content["cells"]], content
