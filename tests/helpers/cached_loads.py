"""A data set read through the cache of decoded images, held to the same one read without."""

import numpy as np

from lcma_tf import data
from lcma_tf.data.image_data import SPLITS


def assert_same_through_cache(folder, images, *arguments, **options):
    """Reads twice, as it is made and as it is there; returns what was read last."""
    cached = images
    for _ in range(2):
        cached = data.load(*arguments, data_cache=str(folder), **options)
        for split in SPLITS:
            assert isinstance(getattr(cached, split), np.memmap)
            np.testing.assert_array_equal(getattr(cached, split), getattr(images, split))
        assert cached.fingerprint == images.fingerprint
        assert cached.description == images.description
        assert cached.jpeg_method == images.jpeg_method
    return cached
