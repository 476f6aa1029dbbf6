"""What must hold over REST and gRPC alike: cases for a `ServingStandIn` of `small_saved_model`."""

from __future__ import annotations

import contextlib
import io
import time

import numpy as np
import pytest
from PIL import Image

import small_saved_model
from lcma_tf.serving.client.client import ServingClient
from lcma_tf.serving.client.retry import Retries
from lcma_tf.serving.client.transport import ServingError
from lcma_tf.serving.runtime.cpp_session import CppSession
from testing import random_images

SHAPE = (4, 6, 3)


class Waits(list):
    """Retries that record how long they would wait instead of waiting."""

    def retries(self, attempts=4):
        return Retries(attempts, random=lambda: 0.0, sleep=self.append)


@contextlib.contextmanager
def opened_session(folder, shape=SHAPE):
    """A session of `small_saved_model` for images of `shape`, saved as version 1 in `folder`."""
    with CppSession(small_saved_model.save(folder / "1", shape), check=False) as session:
        yield session


def encode_file(image, kind="PNG", **options):
    """The bytes of an image file; grey images have one channel."""
    file = io.BytesIO()
    Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image).save(
        file, kind, **options
    )
    return file.getvalue()


def client_of(transport, **settings):
    return ServingClient(
        transport, **{"max_batch_size": small_saved_model.MAX_BATCH_SIZE, **settings}
    )


def check_every_signature(transport, stand_in):
    """Values, dtypes and order, over more rows than one request may have."""
    client, images = client_of(transport), random_images(19, SHAPE)
    assert client.image_shape == SHAPE
    assert client.status() == {stand_in.version: "AVAILABLE"}
    expected = small_saved_model.expected_log_prob(images)
    scores = client.score(images)
    assert scores.log_prob.dtype == scores.bits_per_dim.dtype == np.float32
    np.testing.assert_array_equal(scores.log_prob, expected)
    np.testing.assert_array_equal(
        scores.bits_per_dim, small_saved_model.expected_bits_per_dim(images)
    )
    files = [encode_file(image) for image in images]
    np.testing.assert_array_equal(client.score_encoded(files).log_prob, expected)
    latents = client.encode(images)
    assert latents.dtype == np.float32
    np.testing.assert_array_equal(latents, small_saved_model.expected_latents(images))
    decoded = client.decode(latents)
    assert decoded.dtype == np.uint8
    np.testing.assert_array_equal(decoded, images)
    temperatures = np.linspace(0, 2, 19, dtype=np.float32)
    seeds = np.stack([np.full(19, -5), np.arange(19)], axis=1)
    np.testing.assert_array_equal(
        client.sample(19, seed=-5, temperature=temperatures),
        small_saved_model.expected_samples(seeds, temperatures, SHAPE),
    )
    assert [rows for _, rows in stand_in.requests] == [8, 8, 3] * 5
    assert "serving_default" not in dict(stand_in.requests)


def check_refusals(transport, stand_in):
    """What no check of ours stops is the server's to refuse, with its status and words."""
    bad_temperature = {
        "seed": np.zeros((2, 2), np.int32),
        "temperature": np.array([1, 3], np.float32),
    }
    with pytest.raises(ServingError, match="temperature") as refused:
        transport.predict("sample", bad_temperature, timeout=10)
    assert refused.value.status == "INVALID_ARGUMENT"
    with pytest.raises(ServingError, match="INVALID_ARGUMENT: .*pixels.* sent"):
        transport.predict("log_prob", {"pixels": random_images(1, SHAPE)}, timeout=10)
    # Asked for more rows than the model takes, it is asked once more, and no more.
    waits, before = Waits(), len(stand_in.requests)
    client = client_of(transport, max_batch_size=9, retries=waits.retries())
    with pytest.raises(ServingError, match="rows:"):
        client.log_prob(random_images(9, SHAPE))
    assert len(stand_in.requests) - before == 2
    assert len(waits) == 1


def check_retries(transport, stand_in):
    """A busy server is asked until it answers, or no longer."""
    waits, images = Waits(), random_images(2, SHAPE)
    client = client_of(transport, retries=waits.retries(), image_shape=SHAPE)
    stand_in.unavailable = 3
    np.testing.assert_array_equal(
        client.log_prob(images), small_saved_model.expected_log_prob(images)
    )
    assert len(stand_in.requests) == 4
    assert waits == [0.125, 0.25, 0.5]
    stand_in.unavailable = 4
    with pytest.raises(ServingError, match="UNAVAILABLE: The stand-in was told"):
        client.log_prob(images)
    assert len(stand_in.requests) == 8


def check_deadline(transport, stand_in):
    """A late answer is none, and is not asked for again."""
    stand_in.delay = 60.0
    client = client_of(transport, timeout=0.2, image_shape=SHAPE, retries=Waits().retries())
    started = time.monotonic()
    with pytest.raises(ServingError, match="DEADLINE_EXCEEDED"):
        client.log_prob(random_images(1, SHAPE))
    assert 0.2 <= time.monotonic() - started < 30
    assert len(stand_in.requests) == 1


def check_nobody_there(transport):
    """A refused connection is as good as a busy server."""
    waits = Waits()
    client = client_of(transport, retries=waits.retries(attempts=3))
    with pytest.raises(ServingError, match="UNAVAILABLE"):
        client.log_prob(random_images(1, SHAPE))
    assert len(waits) == 2


def check_another_model(transport):
    """A name or version that is not served is not asked for again."""
    waits = Waits()
    client = client_of(transport, retries=waits.retries())
    for call in (client.status, lambda: client.log_prob(random_images(1, SHAPE))):
        with pytest.raises(ServingError, match="NOT_FOUND: Servable not found"):
            call()
    assert not waits


OF_EVERY_TRANSPORT = (check_every_signature, check_refusals, check_retries, check_deadline)
