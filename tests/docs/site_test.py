"""The documents build as a site, warnings as errors: what `python -m mkdocs build --strict` does."""

import pytest

from documents import PAGES, ROOT

mkdocs_config = pytest.importorskip("mkdocs.config", reason="requirements-docs.txt")


def test_the_site_builds_without_a_warning(tmp_path, monkeypatch):
    pytest.importorskip("mkdocstrings", reason="requirements-docs.txt")
    from mkdocs.commands.build import build

    monkeypatch.chdir(ROOT)
    config = mkdocs_config.load_config("mkdocs.yml", strict=True, site_dir=str(tmp_path / "site"))
    config.plugins.on_startup(command="build", dirty=False)
    build(config)
    made = {path.relative_to(tmp_path / "site") for path in (tmp_path / "site").rglob("*.html")}
    assert len(made) >= len(PAGES)
    api = (tmp_path / "site" / "api.html").read_text()
    assert 'id="lcma_tf.FlowModel.log_prob"' in api
