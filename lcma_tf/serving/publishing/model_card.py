"""The Markdown page that lies beside an export and says what it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from lcma_tf.factorization import Factorization
from lcma_tf.model import FlowModel
from lcma_tf.serving.client.checks import MAX_TEMPERATURE

__all__ = ["CARD_FILE", "model_card"]

CARD_FILE = "MODEL_CARD.md"

_TEXT = """\
# {title}

An exact-likelihood image model for {height}x{width} images of {channels} channel(s), exported by
lcma_tf as a TensorFlow SavedModel.

## Model

| | |
| --- | --- |
{model}

## Signatures

N is the number of rows, 1 to {max_batch_size}; anything else, another shape or another type is
answered with INVALID_ARGUMENT. `serving_default` is `log_prob`.

| signature | inputs | outputs |
| --- | --- | --- |
{signatures}

- `log_prob`: nats of the 8-bit image, a lower bound; `bits_per_dim` is the same over {dimensions}
  dimensions, lower is likelier. Its noise is one constant ({draws}), so that a score is a
  function of the pixels alone: on one machine the same {precision} in every batch.
- `images`: pixels 0..255. In JSON, and in protobuf's `int_val`, a number out of range is wrapped to
  8 bits before the model sees it: check before you send.
- `image_bytes`: PNG or JPEG files of exactly {height}x{width} pixels. JPEG is decoded with
  `{jpeg_method}`, as the training data; transparency is dropped, orientation marks are not obeyed.
  What the training data had done to them (a crop, a resize) must be done before.
- `seed`: two integers a row, which decide that row; `temperature`: 0 to {max_temperature}, the standard
  deviation of the latents.
- `encode` takes every pixel at the middle of its bin; `decode` of its latents gives the image back.

{anomaly}

## Made by

```
{command}
```
"""


_UNCALIBRATED = """\
Likelihood alone does not tell strange images from usual ones: simple images score better than complex
ones. This export has no calibration, with which it would have scores that do."""
_CALIBRATED = """\
- `scores`, `scores_encoded`: `is_anomaly` is true for the share of normal images that the calibration
  names, `anomaly_score` 0 to 1 and 0.5 at that threshold; `scores_at_rate` at the `false_alarm_rate`
  of each row, between 0 and 0.5. `log_prob` alone tells little: simple images score better than
  complex ones.
- `heat_map`: nats that the 5x5 pixels around each fall short of what is usual there, on average."""


def model_card(
    model: FlowModel,
    signatures: Mapping[str, Any],
    metrics: Mapping[str, Any],
    settings: Mapping[str, Any],
    command: str,
) -> str:
    """The card's text.

    Args:
        model: what was exported.
        signatures: concrete functions by name.
        metrics: of the run's `metrics.json`; empty if it was never evaluated.
        settings: `noise_seed`, `num_importance_samples`, `max_batch_size`, `jpeg_method`,
            `batch_invariant`.
        command: that made the export.
    """
    config = model.config
    height, width, channels = config.image_shape
    rows = {
        "data set": metrics.get("dataset", "unknown: the model was not evaluated by a run"),
        "test": _bits(metrics, "test"),
        "validation": _bits(metrics, "validation"),
        "PNG on the same test images": _bits(metrics, "png"),
        "training": f"{metrics['steps']:,} steps, seed {metrics['seed']}" if metrics else "unknown",
        "flow": f"{config.flow}, {config.num_scales} scales, "
        f"{_each(config.level_widths, config.base_dim)} filters, "
        + ", ".join(f"{name} {value}" for name, value in config.own_fields().items()),
        "split rule": model.factorization.rule,
        **_fitted(model.factorization),
        "parameters": f"{model.num_parameters:,}",
        "pixels in training": "real-valued: scores are log-densities of x + u, no bounds of a code"
        if config.real_valued
        else "8-bit",
        "pixel transform": f"{config.pixel_transform}, alpha {config.alpha}",
        "noise of scores": f"seed {settings['noise_seed']}, "
        f"{settings['num_importance_samples']} draw(s)"
        + ", bent by a network that sees the image"
        * (config.dequantization == "variational"),
        "JPEG method": settings["jpeg_method"],
        "TensorFlow": tf.__version__,
        # Cards of exports that do not bear it have no such line.
        "several runs at once": "each as if it were alone, with oneDNN on, too",
    }
    names = [name for name in signatures if name != "serving_default"]
    draws = settings["num_importance_samples"]
    return _TEXT.format(
        title=f"{config.flow} flow, split rule {model.factorization.rule}",
        height=height,
        width=width,
        channels=channels,
        dimensions=f"{config.num_dimensions:,}",
        draws="one draw" if draws == 1 else f"{draws} draws, averaged in the likelihood",
        max_batch_size=settings["max_batch_size"],
        precision="to the bit" if settings["batch_invariant"] else "within 1e-6 of its size",
        max_temperature=f"{MAX_TEMPERATURE:g}",
        jpeg_method=settings["jpeg_method"],
        model="\n".join(f"| {name} | {value} |" for name, value in rows.items()),
        signatures="\n".join(
            f"| `{name}` | {_inputs(signatures[name])} | {_outputs(signatures[name])} |"
            for name in names
        ),
        anomaly=_CALIBRATED if "scores" in signatures else _UNCALIBRATED,
        command=command,
    )


def _each(of_levels, default):
    return "/".join(map(str, of_levels or [default]))


def _fitted(factorization: Factorization) -> dict[str, str]:
    """What was fitted to the data before training; cards of flows without have no such line."""
    turned, whitened = factorization.rotation(0) is not None, factorization.whitening is not None
    told = ["colours turned"] * turned + ["images whitened, after that"] * whitened
    return {"before the first scale": ", ".join(told)} if told else {}


def _bits(metrics, name):
    value = metrics.get(f"{name}_bits_per_dim")
    return "not measured" if value is None else f"{value:.4f} bits/dim"


def _inputs(function):
    specs = tf.nest.flatten(function.structured_input_signature)
    return _specs({spec.name: spec for spec in specs})


def _outputs(function):
    return _specs(function.structured_outputs)


def _specs(specs):
    return ", ".join(f"`{name}` {_spec(spec)}" for name, spec in specs.items())


def _spec(spec):
    sizes = ", ".join("N" if size is None else str(size) for size in spec.shape)
    return f"{spec.dtype.name} `[{sizes}]`"
