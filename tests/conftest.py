"""What every test may use, and what keeps a long test session small."""

import gc
import sys

import pytest

import commands


def pytest_addoption(parser):
    parser.addoption(
        "--long_faults",
        action="store_true",
        help="Try each fault of tests/faults/ as often as docs/faults.md says: hours, not minutes.",
    )


@pytest.fixture(scope="session")
def at_length(request):
    """`at_length(short, long)`: how often a fault is tried, in a usual run and with `--long_faults`."""
    is_long = request.config.getoption("--long_faults")
    return lambda short, long: long if is_long else short


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """The one unbroken run that a session makes, a `commands.FinishedRun`; to be read only."""
    return commands.finished_run(tmp_path_factory)


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """The one export of that run, a `commands.Export`; to be read only."""
    return commands.finished_export(tmp_path_factory)


@pytest.fixture(scope="session")
def imported():
    """Sets aside what was imported: hundreds of MB of objects that no collection needs to look at.

    And tracing makes so many that live that the usual thresholds look at all of them again and again.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 100)


@pytest.fixture(scope="module", autouse=True)
def nothing_left_of_the_modules_before(imported):
    """TensorFlow and its Probability keep what was traced: gigabytes at the end of a session."""
    if "tensorflow_probability" not in sys.modules:
        yield
        return
    from lcma_tf.study.leftovers import nothing_left_behind

    with nothing_left_behind():
        yield
