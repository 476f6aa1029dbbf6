"""What the clients need of a connection to a model server, whatever the protocol."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

import numpy as np

from lcma_tf.errors import UserError

__all__ = ["OUTPUTS", "ServingError", "Transport", "dtypes_of"]

# The outputs of each signature, with their dtypes: JSON does not carry them.
_SCORES = {"log_prob": np.dtype(np.float32), "bits_per_dim": np.dtype(np.float32)}
_IMAGES = {"images": np.dtype(np.uint8)}
_ANOMALY = {"anomaly_score": np.dtype(np.float32), "is_anomaly": np.dtype(np.bool_)}
OUTPUTS: dict[str, dict[str, np.dtype]] = {
    "log_prob": _SCORES,
    "log_prob_encoded": _SCORES,
    "sample": _IMAGES,
    "encode": {"latents": np.dtype(np.float32)},
    "decode": _IMAGES,
    # With a calibration alone.
    "scores": _ANOMALY,
    "scores_encoded": _ANOMALY,
    "scores_at_rate": _ANOMALY,
    "heat_map": {"heat_map": np.dtype(np.float32)},
}


def dtypes_of(signature: str, answered: Iterable[str]) -> dict[str, np.dtype]:
    """The dtype of each output to take from an answer that has those called `answered`.

    With a calibration there are further scores, float32, whatever the export knows of.
    """
    dtypes = OUTPUTS[signature]
    if dtypes is not _ANOMALY:
        return dtypes
    return {**dict.fromkeys(answered, np.dtype(np.float32)), **dtypes}


class ServingError(UserError, RuntimeError):
    """A server's refusal, or its silence.

    Args:
        status: the canonical name of the status: `INVALID_ARGUMENT`, `UNAVAILABLE` and so on.
        message: the server's words.
        final: whether the same request must fail again, whatever the status says.
    """

    def __init__(self, status: str, message: str, final: bool = False):
        super().__init__(f"{status}: {message}")
        self.status = status
        self.final = final


class Transport(Protocol):
    """A connection to one model of a server. Each call is one attempt, over before its deadline.

    Every method raises `ServingError`.
    """

    def predict(
        self, signature: str, inputs: Mapping[str, np.ndarray], timeout: float
    ) -> dict[str, np.ndarray]:
        """The outputs of a signature in `OUTPUTS`, with the dtypes of that table.

        Args:
            signature: its name.
            inputs: arrays by name, all with the same number of rows; files are arrays of `bytes`.
            timeout: seconds.
        """
        ...

    def status(self, timeout: float) -> dict[int, str]:
        """The state of each version that the server knows: `AVAILABLE`, `LOADING` and so on."""
        ...

    def input_shapes(
        self, signature: str, timeout: float
    ) -> dict[str, tuple[int | None, ...] | None]:
        """The shapes of a signature's inputs as the server states them.

        None for a size, or in place of a whole shape, stands for whatever it may be.
        """
        ...

    def close(self) -> None:
        """Ends the connection."""
        ...
