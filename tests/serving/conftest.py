"""What the tests of clients share."""

import pytest

from served_cases import opened_session


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    """A `CppSession` of a small model that is not a flow, but has the signatures of one."""
    with opened_session(tmp_path_factory.mktemp("model")) as session:
        yield session
