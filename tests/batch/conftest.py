"""What the tests of tables of scores share."""

import pytest

import scored_runs


@pytest.fixture(scope="package")
def scored_run(tmp_path_factory):
    """The folder of a calibrated run of 8x8 RGB images; to be read only."""
    return scored_runs.make_scored_run(tmp_path_factory.mktemp("scored") / "run")
