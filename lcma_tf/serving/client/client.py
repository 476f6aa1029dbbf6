"""A client of a served flow: arrays in, arrays out, over any `Transport`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from lcma_tf.serving.client.checks import (
    MAX_BATCH_SIZE,
    RequestError,
    as_images,
    as_latents,
    as_rates,
    as_seeds,
    as_temperatures,
)
from lcma_tf.serving.client.image_files import check_encoded
from lcma_tf.serving.client.requests import ROW_OVERHEAD, check_answer, chunks
from lcma_tf.serving.client.retry import Retries
from lcma_tf.serving.client.transport import ServingError, Transport

__all__ = ["MAX_MESSAGE_BYTES", "Scores", "ServingClient"]

# gRPC refuses messages of more than 4 MiB unless it is told otherwise. What is left is for names.
MAX_MESSAGE_BYTES = 4 * 2**20 - 2**16


class Scores(NamedTuple):
    """`log_prob` (nats, float32 `[N]`) and `bits_per_dim` (float32 `[N]`) of images."""

    log_prob: np.ndarray
    bits_per_dim: np.ndarray


class ServingClient:
    """Scores, samples and latents from a model server.

    What is asked for is checked first, cut into requests that the server takes, and sent one after
    another, each with a deadline. A busy server is asked again after a wait; where a refusal may be due
    to another client's rows in the same batch, once (`lcma_tf.serving.client.retry`). Signatures are
    asked for by name, `log_prob` and never `serving_default`: the server warms and batches the two
    apart.

    Example:
        ```python
        import numpy as np

        from lcma_tf.serving.client.client import ServingClient
        from lcma_tf.serving.client.rest import RestTransport

        client = ServingClient(RestTransport("localhost:8501", "flow"))
        images = np.zeros((2, *client.image_shape), np.uint8)
        nats = client.log_prob(images)  # float32 [2]
        ```

    Args:
        transport: see `export.rest_client` and `export.grpc_client`.
        image_shape: `(H, W, C)` of the model's images; by default the server is asked.
        max_batch_size: rows of a request; the model's, or less.
        max_message_bytes: of the rows of a request.
        timeout: seconds that each attempt may take.
        retries: what is done about refusals.

    Methods raise:
        RequestError: an argument breaks its rule; nothing was sent.
        ServingError: the server refused, or gave no answer; or an answer is not what was asked for.
    """

    def __init__(
        self,
        transport: Transport,
        image_shape: Sequence[int] | None = None,
        *,
        max_batch_size: int = MAX_BATCH_SIZE,
        max_message_bytes: int = MAX_MESSAGE_BYTES,
        timeout: float = 60.0,
        retries: Retries | None = None,
    ):
        for name, value in (
            ("max_batch_size", max_batch_size),
            ("max_message_bytes", max_message_bytes),
        ):
            if value < 1:
                raise RequestError(f"`{name}` must be at least 1; got {value}.")
        if not timeout > 0:
            raise RequestError(f"`timeout` must be above 0; got {timeout}.")
        self._transport = transport
        self._image_shape = None if image_shape is None else tuple(image_shape)
        self._max_batch_size = max_batch_size
        self._max_message_bytes = max_message_bytes
        self._timeout = timeout
        self._retries = retries or Retries()

    @property
    def image_shape(self) -> tuple[int, ...]:
        """`(H, W, C)` of the model's images."""
        if self._image_shape is None:
            shapes = self._retries.call(
                lambda: self._transport.input_shapes("log_prob", self._timeout)
            )
            shape = shapes.get("images")
            sizes = [size for size in shape[1:] if size is not None] if shape else []
            if len(sizes) != 3 or len(shape or ()) != 4:
                raise ServingError(
                    "FAILED_PRECONDITION",
                    f"the model must state images [N, H, W, C] for `log_prob`; it states {shapes}",
                )
            self._image_shape = tuple(sizes)
        return self._image_shape

    @property
    def max_file_bytes(self) -> int:
        """Bytes of a file that still fits into a request."""
        return self._max_message_bytes - ROW_OVERHEAD

    def status(self) -> dict[int, str]:
        """The state of each version of the model: `AVAILABLE`, `LOADING` and so on."""
        return self._retries.call(lambda: self._transport.status(self._timeout))

    def score(self, images: np.ndarray) -> Scores:
        """Log-probabilities and bits per dimension of integer images `[N, H, W, C]`, 0 to 255."""
        images = as_images(images, self.image_shape)
        return Scores(**self._predict("log_prob", {"images": images}))

    def score_encoded(self, files: Sequence[bytes]) -> Scores:
        """The same of PNG or JPEG files, each exactly of the model's height and width.

        JPEG is decoded by the method that is stored with the model: that of its training data. The
        server decides what is such a file; a `RequestError` means one that it would refuse unseen.
        """
        return Scores(**self._predict("log_prob_encoded", {"image_bytes": self._as_bytes(files)}))

    def _as_bytes(self, files: Sequence[bytes]) -> np.ndarray:
        if not files:
            raise RequestError("`files` must hold at least one file; got none.")
        image_bytes = np.empty(len(files), object)
        for i, data in enumerate(files):
            if not isinstance(data, bytes):
                raise RequestError(f"`files` must hold bytes; got {type(data).__name__} at {i}.")
            try:
                check_encoded(data, self.image_shape)
            except RequestError as error:
                raise RequestError(f"`files` at {i}: {error}.") from error
            image_bytes[i] = data
        return image_bytes

    def anomaly_scores(
        self, images: np.ndarray, false_alarm_rate: float | None = None
    ) -> dict[str, np.ndarray]:
        """Every score `[N]` of integer images `[N, H, W, C]` by name, `is_anomaly` among them.

        What each is, is said in docs/scores.md.

        Args:
            images: 0 to 255.
            false_alarm_rate: another one than the model's, in (0, 0.5).
        """
        inputs = {"images": as_images(images, self.image_shape)}
        if false_alarm_rate is None:
            return self._calibrated("scores", inputs)
        rates = as_rates(len(inputs["images"]), false_alarm_rate)
        return self._calibrated("scores_at_rate", {**inputs, "false_alarm_rate": rates})

    def anomaly_scores_encoded(self, files: Sequence[bytes]) -> dict[str, np.ndarray]:
        """The same of PNG or JPEG files, as `score_encoded` takes them."""
        return self._calibrated("scores_encoded", {"image_bytes": self._as_bytes(files)})

    def heat_map(self, images: np.ndarray) -> np.ndarray:
        """Nats that each pixel falls short of what is usual there, float32 `[N, H, W]`."""
        images = as_images(images, self.image_shape)
        return self._calibrated("heat_map", {"images": images})["heat_map"]

    def log_prob(self, images: np.ndarray) -> np.ndarray:
        """Log-probabilities in nats, float32 `[N]`, of integer images `[N, H, W, C]`, 0 to 255."""
        return self.score(images).log_prob

    def bits_per_dim(self, images: np.ndarray) -> np.ndarray:
        """`-log_prob / (H * W * C * log 2)`, float32 `[N]`."""
        return self.score(images).bits_per_dim

    def sample(
        self,
        num: int,
        seed: int = 0,
        temperature: float | Sequence[float] | np.ndarray = 1.0,
    ) -> np.ndarray:
        """Images uint8 `[num, H, W, C]`; image i depends on the seed, on i and its temperature alone.

        Args:
            num: how many.
            seed: an int32.
            temperature: in [0, 2]; one for all or one for each.
        """
        inputs = {"seed": as_seeds(num, seed), "temperature": as_temperatures(num, temperature)}
        return self._predict("sample", inputs)["images"]

    def encode(self, images: np.ndarray) -> np.ndarray:
        """Latents float32 `[N, H, W, C]` of integer images."""
        images = as_images(images, self.image_shape)
        return self._predict("encode", {"images": images})["latents"]

    def decode(self, latents: np.ndarray) -> np.ndarray:
        """Images uint8 `[N, H, W, C]` of finite latents."""
        latents = as_latents(latents, self.image_shape)
        return self._predict("decode", {"latents": latents})["images"]

    def close(self) -> None:
        """Ends the connection."""
        self._transport.close()

    def __enter__(self) -> ServingClient:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _calibrated(
        self, signature: str, inputs: Mapping[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        try:
            return self._predict(signature, inputs)
        except ServingError as error:
            if signature in str(error) and "not found" in str(error).lower():
                raise ServingError(
                    "FAILED_PRECONDITION",
                    f"the model must have been exported with a calibration to answer `{signature}`; "
                    "it has none: calibrate the run and export it again",
                    final=True,
                ) from error
            raise

    def _predict(self, signature: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        answers = []
        # Cut before anything is sent, so that a row which is too large costs nothing.
        for rows in list(chunks(inputs, self._max_batch_size, self._max_message_bytes)):
            part = {name: array[rows] for name, array in inputs.items()}
            answer = self._retries.call(
                lambda part=part: self._transport.predict(signature, part, self._timeout)
            )
            check_answer(signature, answer, rows.stop - rows.start)
            answers.append(answer)
        return {name: np.concatenate([answer[name] for answer in answers]) for name in answers[0]}
