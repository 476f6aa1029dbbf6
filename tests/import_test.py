"""The names of the package: each leads somewhere, and no other does."""

import pytest

import lcma_tf


@pytest.mark.parametrize("name", sorted(lcma_tf.__all__))
def test_a_public_name_resolves(name):
    assert getattr(lcma_tf, name) is not None
    assert name in dir(lcma_tf)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'lcma_tf' has no attribute 'FlowModle'"):
        _ = lcma_tf.FlowModle
    with pytest.raises(ImportError):
        from lcma_tf import FlowModle  # noqa: F401


def test_the_version_is_that_of_the_package():
    assert lcma_tf.__version__.count(".") == 2
