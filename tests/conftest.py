"""What every test may use, and what keeps a long test session small."""

import contextlib
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


_MODULES = 5


@pytest.fixture(scope="session")
def leftovers():
    """What was traced since the last time, to be dropped by `close`, and the modules since then."""
    with contextlib.ExitStack() as stack:
        yield {"stack": stack, "modules": 0}


@pytest.fixture(scope="module", autouse=True)
def little_left_of_the_modules_before(leftovers):
    """TensorFlow and its Probability keep what was traced: gigabytes at the end of a session.

    To look for it takes a second or two: not after every module.
    """
    if "tensorflow_probability" not in sys.modules:
        yield
        return
    if not leftovers["modules"]:
        from lcma_tf.study.leftovers import nothing_left_behind

        leftovers["stack"].enter_context(nothing_left_behind())
    leftovers["modules"] += 1
    yield
    if leftovers["modules"] == _MODULES:
        leftovers["stack"].close()
        leftovers["modules"] = 0
