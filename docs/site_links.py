"""A hook of MkDocs: the README and what the documents link to outside `docs/` become part of the site.

Links in the sources lead through the repository, so that they work where it is browsed. Here every file
that a page links to is taken in under its path from the root, and each link is written anew: one source,
two places to read it. A link to a file that does not exist is left to MkDocs, which warns.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
# Pages of the site that are not in docs/: path from the root -> path in the site.
PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "CONTRIBUTING.md",
    "configs/README.md": "configs/README.md",
    "benchmarks/README.md": "benchmarks/README.md",
    "export/serving/README.md": "export/serving/README.md",
}
_LINK = re.compile(r"\]\((?!\w+:)([^)#\s]+)(#[^)\s]*)?\)")


def on_files(files: Files, config) -> Files:
    """Adds the pages, and the files that any page links to."""
    for source, place in PAGES.items():
        files.append(File.generated(config, place, abs_src_path=str(ROOT / source)))
    sources = [*PAGES, *(f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md"))]
    for source in sources:
        for path, _ in _LINK.findall((ROOT / source).read_text()):
            place = _place(_from_root(source, path))
            if (ROOT / _from_root(source, path)).is_file() and not files.get_file_from_path(place):
                absolute = str(ROOT / _from_root(source, path))
                files.append(File.generated(config, place, abs_src_path=absolute))
    return files


def on_page_markdown(markdown: str, page, config, files: Files) -> str:
    """Writes the links of a page for the site."""
    here = page.file.src_uri
    source = next((path for path, place in PAGES.items() if place == here), f"docs/{here}")

    def rewritten(match: re.Match) -> str:
        place = _place(_from_root(source, match[1]))
        if files.get_file_from_path(place) is None:
            return match[0]
        return f"]({posixpath.relpath(place, posixpath.dirname(here) or '.')}{match[2] or ''})"

    return _LINK.sub(rewritten, markdown)


def _from_root(source: str, path: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(source), path))


def _place(path: str) -> str:
    """Where a file of the repository is in the site."""
    return PAGES.get(path, path.removeprefix("docs/"))
