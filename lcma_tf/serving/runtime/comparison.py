"""When an export says the same as its model: rounding apart, and nothing that is not finite."""

from __future__ import annotations

import numpy as np

from lcma_tf.errors import UserError

__all__ = ["VerificationError", "check_equal", "check_finite"]

# The same weights in other kernels (fused, or in another order) differ by rounding alone. Measured on
# flows of 20 million parameters: 1.2e-7 of a score, 2.4e-6 in a latent, which may well be near 0.
_RTOL = 1e-5
_ATOL_OF_LATENTS = 1e-4
# A colour between two levels may be rounded either way.
_MAX_LEVELS = 1
_MAX_SHARE_OF_PIXELS = 0.01


class VerificationError(UserError, ValueError):
    """What was published does not load, does not run, or says something else than the model."""


def check_finite(key: str, actual: np.ndarray) -> None:
    """Raises VerificationError, about `key`, if a number is NaN or infinite."""
    if actual.dtype.kind == "f" and not np.isfinite(actual).all():
        bad = np.count_nonzero(~np.isfinite(actual))
        raise VerificationError(f"{key} must be finite; {bad} of {actual.size} numbers are not.")


def check_equal(key: str, actual: np.ndarray, expected: np.ndarray) -> None:
    """Holds an answer to what the model says; shape and kind of dtype must be the same.

    Floats may differ by rounding, uint8 by one level in few pixels, other dtypes by nothing.

    Raises:
        VerificationError: about `key`, with the rule, how many differ and the first that does.
    """
    kinds = [
        array.dtype.kind if array.dtype.kind == "f" else array.dtype for array in (actual, expected)
    ]
    if actual.shape != expected.shape or kinds[0] != kinds[1]:
        raise VerificationError(
            f"{key} must be {expected.dtype} {list(expected.shape)}; "
            f"got {actual.dtype} {list(actual.shape)}."
        )
    if actual.dtype.kind == "f":
        atol = _ATOL_OF_LATENTS if actual.ndim > 1 else 0.0  # Not scores, of one number a row.
        rule = f"within {_RTOL:g} relative and {atol:g} absolute"
        off = ~np.isclose(actual, expected, rtol=_RTOL, atol=atol)
        equal = not off.any()
    elif actual.dtype == np.uint8:
        rule = f"within {_MAX_LEVELS} level in {_MAX_SHARE_OF_PIXELS:.0%} of pixels"
        off = actual != expected
        levels = np.abs(actual.astype(np.int16) - expected.astype(np.int16))
        equal = off.mean() <= _MAX_SHARE_OF_PIXELS and levels.max(initial=0) <= _MAX_LEVELS
    else:
        rule = "exactly"
        off = actual != expected
        equal = not off.any()
    if not equal:
        at = tuple(int(index) for index in np.argwhere(off)[0])
        raise VerificationError(
            f"{key} must equal what the model says, {rule}; {np.count_nonzero(off)} of {off.size} "
            f"differ, the first at {list(at)}: {actual[at]} instead of {expected[at]}."
        )
