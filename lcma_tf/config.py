"""The frozen descriptions of a flow and of a run. Plain Python; every rule on values is here."""

from __future__ import annotations

import dataclasses
import math
import operator
from collections.abc import Mapping
from typing import Any, Self

from lcma_tf.factorization import SPLIT_RULES
from lcma_tf.files.paths import absolute, absolute_dataset

__all__ = [
    "MAX_SEED",
    "MAX_TEMPERATURE",
    "RESAMPLERS",
    "ConfigError",
    "FlowConfig",
    "TrainConfig",
    "check_temperature",
    "require",
]

MAX_SEED = 2**30  # Seeds are int32, and the noise of batch b is that of seed + b.
# Of the latents. Beyond twice the standard deviation of those that the flow was trained on it was never
# asked what they mean, and draws 0 and 255. The limit of an export too.
MAX_TEMPERATURE = 2.0
RESAMPLERS = ("antialias", "program")  # What each does: `lcma_tf.data.resample`.


class ConfigError(ValueError):
    """A value that breaks a rule; the message names the field, the rule and the value."""


def require(condition: bool, name: str, rule: str, value: Any) -> None:
    """Raises `ConfigError` unless `condition`: field or flag `name` must be `rule`."""
    if not condition:
        raise ConfigError(f"`{name}` must be {rule}; got {value!r}.")


def check_temperature(value: float) -> None:
    """Raises `ConfigError` unless samples can be drawn at temperature `value`."""
    valid = 0 <= value <= MAX_TEMPERATURE  # A comparison with NaN is false.
    require(valid, "temperature", f"between 0 and {MAX_TEMPERATURE:g}", float(value))


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _require_ints(config: Any, minimum: int, *names: str) -> None:
    for name in names:
        value = getattr(config, name)
        require(_is_int(value) and value >= minimum, name, f"an integer >= {minimum}", value)


def _require_seed(config: Any) -> None:
    _require_ints(config, 0, "seed")
    require(config.seed <= MAX_SEED, "seed", f"at most {MAX_SEED}", config.seed)


def _set_shape(config: Any, name: str) -> None:
    """Checks an image shape; a list, as JSON has it, becomes a tuple."""
    shape = getattr(config, name)
    fits = isinstance(shape, tuple | list) and len(shape) == 3
    fits = fits and all(_is_int(size) and size >= 1 for size in shape)
    require(fits, name, "(height, width, channels), all positive integers", shape)
    object.__setattr__(config, name, tuple(shape))


class _DictConfig:
    """`to_dict` and `from_dict` for the frozen configs."""

    def to_dict(self) -> dict[str, Any]:
        """A JSON form: the fields by name."""
        return dataclasses.asdict(self)  # pyright: ignore[reportArgumentType]

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`. An unknown field is an error."""
        known = {field.name for field in dataclasses.fields(cls)}  # pyright: ignore[reportArgumentType]
        unknown = sorted(set(values) - known)
        require(not unknown, cls.__name__, f"made of the fields {sorted(known)}", unknown)
        return cls(**values)


@dataclasses.dataclass(frozen=True)
class FlowConfig(_DictConfig):
    """What a flow is: enough, with a `Factorization`, to build it.

    The defaults are the CIFAR-10 architecture of the paper, with two choices of our own that the
    README's table explains: `pixel_transform` and `batch_norm_moments`.

    Args:
        image_shape: `(H, W, C)`; H and W divisible by `2**(num_scales - 1)`.
        flow: the kind of flow, `realnvp`.
        num_scales: number of flow layers K, the last included; K - 1 splits.
        base_dim: width of the first level's conditioners; doubled at each level, and again in the
            channel couplings (Dinh et al. 2016).
        num_residual_blocks: of every conditioner.
        alpha: logit bound of the pixel transform, in (0, 0.5).
        pixel_transform: `two_sided`, `logit(alpha + (1 - 2 alpha) y / 256)`, or `one_sided`,
            `logit(alpha + (1 - alpha) y / 256)`.
        batch_norm_moments: moments of the in-flow batch norm over the `changed` half, or over `all`
            positions with zeros at the unchanged ones, as the RealNVP program does.
        weight_scale_l2: coefficient of the sum of squares of the weight-norm magnitudes and of the
            checkerboard couplings' scales, added to nats per image.
        mixed_precision: training computes convolutions and feature maps inside the conditioners in
            bfloat16, with float32 weights; densities, shifts and scales stay float32. Scores, samples
            and latents are float32 throughout: `decode(encode(x))` is x.
        real_valued: pixels are real numbers in [0, 255], as a resampler makes them, instead of uint8.
            Scores are then log-densities of x + u, which bound no log-probability of 8-bit images.
        original_shape: `(h, w, C)` of the picture inside images that were padded with zeros: bits/dim
            are those of its dimensions; None = the whole image.
        seed: initial weights and training noise.

    Raises:
        ConfigError: a field breaks its rule.
    """

    image_shape: tuple[int, ...] = (32, 32, 3)
    flow: str = "realnvp"
    num_scales: int = 2
    base_dim: int = 64
    num_residual_blocks: int = 8
    alpha: float = 0.05
    pixel_transform: str = "two_sided"
    batch_norm_moments: str = "changed"
    weight_scale_l2: float = 5e-5
    mixed_precision: bool = False
    real_valued: bool = False
    original_shape: tuple[int, ...] | None = None
    seed: int = 0

    def __post_init__(self):
        _set_shape(self, "image_shape")
        if self.original_shape is not None:
            _set_shape(self, "original_shape")
            inside = all(map(operator.le, self.original_shape, self.image_shape))
            rule = f"within image_shape={self.image_shape}"
            require(inside, "original_shape", rule, self.original_shape)
        _require_ints(self, 1, "num_scales", "base_dim", "num_residual_blocks")
        _require_seed(self)
        require(self.flow in ("realnvp",), "flow", "'realnvp'", self.flow)
        divisor = 2 ** (self.num_scales - 1)
        height, width, _ = self.image_shape
        require(
            height % divisor == 0 and width % divisor == 0,
            "num_scales",
            "such that height and width of the images are divisible by 2**(num_scales - 1)",
            f"num_scales={self.num_scales} for image_shape={self.image_shape}",
        )
        require(
            (height // divisor) * (width // divisor) >= 2,
            "num_scales",
            "small enough to leave at least two pixels at the last scale (a checkerboard needs both "
            "colours)",
            f"num_scales={self.num_scales} for image_shape={self.image_shape}",
        )
        require(_is_finite(self.alpha) and 0 < self.alpha < 0.5, "alpha", "in (0, 0.5)", self.alpha)
        for name, allowed in (
            ("pixel_transform", ("two_sided", "one_sided")),
            ("batch_norm_moments", ("changed", "all")),
        ):
            value = getattr(self, name)
            require(value in allowed, name, f"one of {', '.join(allowed)}", value)
        require(
            _is_finite(self.weight_scale_l2) and self.weight_scale_l2 >= 0,
            "weight_scale_l2",
            "a finite number >= 0",
            self.weight_scale_l2,
        )
        for name in ("mixed_precision", "real_valued"):
            value = getattr(self, name)
            require(isinstance(value, bool), name, "True or False", value)

    @property
    def num_dimensions(self) -> int:
        """H * W * C without padding: what bits/dim divides by."""
        return math.prod(self.original_shape or self.image_shape)


@dataclasses.dataclass(frozen=True)
class TrainConfig(_DictConfig):
    """What a run does: data, rule, budget, optimizer. Together with `FlowConfig` it fixes the result.

    To the bit on one machine where `TF_DETERMINISTIC_OPS=1` is in the environment. Otherwise up to
    rounding, which depends on kind and number of processors, TensorFlow and its options, and which a
    long training carries into the last digits of its figures.

    Args:
        dataset: name of the data set (`lcma_tf.data`).
        data_dir: where it is, or is prepared; None = the default of its source.
        image_size: side to which pictures are cropped and resized; None = as they are.
        resampler: how `celeb_a` is resized: `antialias` (8-bit) or `program` (real-valued).
        pad_to: side to which images are padded with zeros on all sides; None = not.
        skip_bad_images: leave out the files of an `image_folder` that cannot be decoded.
        split_rule: one of `lcma_tf.factorization.SPLIT_RULES`.
        factorization_path: a saved factorization to use, so that nothing is pretrained; or None.
        initialize_from: a run, or a `.keras` file, whose weights the training begins with; None = with
            fresh ones. A pretraining begins with fresh ones always.
        train_steps: optimizer steps of the training.
        pretrain_steps: optimizer steps of the pretraining; None = as many as `train_steps`.
        batch_size: images a step, over all devices.
        learning_rate: of Adam; the peak one, if the schedule is not constant.
        learning_rate_schedule: `constant` (the paper's) or `cosine` (decays to zero).
        warmup_steps: linear warm-up before the schedule.
        clip_norm: global norm at which gradients of nats per image are clipped.
        flip: mirror training images at random.
        steps_per_epoch: steps between validations, checkpoints and lines of the history.
        seed: order of the data, noise, initial weights, the random rule.

    Raises:
        ConfigError: a field breaks its rule.
    """

    dataset: str = "photo_patches"
    data_dir: str | None = None
    image_size: int | None = None
    resampler: str = "antialias"
    pad_to: int | None = None
    skip_bad_images: bool = False
    split_rule: str = "lcma"
    factorization_path: str | None = None
    initialize_from: str | None = None
    train_steps: int = 10_000
    pretrain_steps: int = None  # pyright: ignore[reportAssignmentType]  # Set in __post_init__.
    batch_size: int = 64
    learning_rate: float = 1e-3
    learning_rate_schedule: str = "constant"
    warmup_steps: int = 0
    clip_norm: float = 100.0
    flip: bool = False
    steps_per_epoch: int = 1_000
    seed: int = 0

    def __post_init__(self):
        if self.pretrain_steps is None:
            object.__setattr__(self, "pretrain_steps", self.train_steps)
        require(bool(self.dataset), "dataset", "the name of a data set", self.dataset)
        _require_ints(self, 1, "train_steps", "pretrain_steps", "batch_size", "steps_per_epoch")
        _require_ints(self, 0, "warmup_steps")
        _require_seed(self)
        for name in ("image_size", "pad_to"):
            if getattr(self, name) is not None:
                _require_ints(self, 1, name)
        require(
            isinstance(self.skip_bad_images, bool),
            "skip_bad_images",
            "True or False",
            self.skip_bad_images,
        )
        for name in ("learning_rate", "clip_norm"):
            value = getattr(self, name)
            require(_is_finite(value) and value > 0, name, "a finite number > 0", value)
        for name, allowed in (
            ("resampler", RESAMPLERS),
            ("split_rule", SPLIT_RULES),
            ("learning_rate_schedule", ("constant", "cosine")),
        ):
            value = getattr(self, name)
            require(value in allowed, name, f"one of {', '.join(allowed)}", value)
        for name in ("train_steps", "pretrain_steps"):
            steps = getattr(self, name)
            require(
                self.warmup_steps < steps,
                "warmup_steps",
                f"less than {name}={steps}",
                self.warmup_steps,
            )

    def with_absolute_paths(self) -> Self:
        """The same run with paths that hold from any folder, and `~` expanded.

        Raises:
            ConfigError: a path begins with `~` and the name of no user.
        """
        paths = {}
        for name, function in (
            ("dataset", absolute_dataset),
            ("data_dir", absolute),
            ("factorization_path", absolute),
            ("initialize_from", absolute),
        ):
            try:
                paths[name] = function(getattr(self, name))
            except ValueError as error:
                raise ConfigError(f"`{name}`: {error}.") from error
        return dataclasses.replace(self, **paths)

    def data_options(self) -> dict[str, Any]:
        """The arguments of `lcma_tf.data.load`."""
        names = ("data_dir", "image_size", "resampler", "pad_to", "skip_bad_images")
        return {"name": self.dataset, **{name: getattr(self, name) for name in names}}
