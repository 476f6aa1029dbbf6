"""What every test may use, and what keeps a long test session small."""

import pytest


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
