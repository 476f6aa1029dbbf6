"""What tests of a model share: a tiny one with random weights, and images for it."""

import pytest

from testing import random_images, tiny_flow


@pytest.fixture(scope="module")
def model():
    return tiny_flow()


@pytest.fixture(scope="module")
def images():
    return random_images(64, (4, 4, 2))
