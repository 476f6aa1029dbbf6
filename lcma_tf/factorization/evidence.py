"""What a rule is decided by, checked before it decides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from lcma_tf.factorization.errors import FactorizationError

__all__ = ["Layers", "checked_evidence"]

Layers = Sequence[np.ndarray] | Mapping[str, np.ndarray]  # `layer_1`, `layer_2`, ... if by name.


def checked_evidence(
    name: str,
    evidence: Layers | np.ndarray | None,
    image_shape: tuple[int, ...],
    num_scales: int,
    rule: str,
) -> list[np.ndarray]:
    """Returns what each of the `num_scales - 1` splits is decided by, in the data's coordinates.

    Args:
        name: of the evidence, in `lcma_tf.factorization.rules.EVIDENCE`.
        evidence: what was given as such; images `[n, H, W, C]`, or arrays `[H, W, C]` for each layer.
        rule: that reads it.

    Raises:
        FactorizationError: it is missing, of another form, or not finite.
    """
    if evidence is None:
        raise FactorizationError(f"Rule {rule!r} is decided by `{name}`; got None.")
    if name == "logits":
        images = np.asarray(evidence)
        if images.ndim != 4 or not len(images):
            raise FactorizationError(
                f"`{name}` must be float of shape {('n', *image_shape)}, n at least 1; "
                f"got {images.dtype} {images.shape}."
            )
        _check_array(f"`{name}`", images, (len(images), *image_shape))
        return [images] * (num_scales - 1)
    layers = _in_order(name, evidence, num_scales - 1)
    for index, layer in enumerate(layers, start=1):
        _check_array(f"`{name}` layer {index}", layer, image_shape)
    return layers


def _in_order(name: str, evidence: Layers | np.ndarray, needed: int) -> list[np.ndarray]:
    if isinstance(evidence, Mapping):
        names = [f"layer_{layer}" for layer in range(1, needed + 1)]
        if any(layer not in evidence for layer in names):
            raise FactorizationError(
                f"`{name}` must hold {', '.join(names)}; got {sorted(evidence)}."
            )
        evidence = [evidence[layer] for layer in names]
    if not isinstance(evidence, Sequence | np.ndarray):
        kind = type(evidence).__name__
        raise FactorizationError(f"`{name}` must be a sequence of arrays; got {kind}.")
    layers = [np.asarray(layer) for layer in evidence]
    if len(layers) < needed:
        raise FactorizationError(
            f"`{name}` must have at least num_scales - 1 = {needed} layers; got {len(layers)}."
        )
    return layers[:needed]


def _check_array(what: str, array: np.ndarray, shape: tuple[int, ...]) -> None:
    if array.shape != shape or not np.issubdtype(array.dtype, np.floating):
        raise FactorizationError(
            f"{what} must be float of shape {shape}; got {array.dtype} {array.shape}."
        )
    if not np.isfinite(array).all():
        raise FactorizationError(
            f"{what} must be finite; "
            f"got {np.count_nonzero(~np.isfinite(array))} entries that are not."
        )
