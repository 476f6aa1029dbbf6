"""What a run does."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Self

from lcma_tf.choices import OPTIMIZERS, RESAMPLERS, RULES, SOURCES
from lcma_tf.config.checks import (
    ConfigError,
    is_finite,
    require,
    require_ints,
    require_positive,
    require_seed,
)
from lcma_tf.config.options import OptionConfig, option, options
from lcma_tf.config.split_rules import RuleThatWas, UnaskedRule, rules_help
from lcma_tf.factorization import needs_pretraining
from lcma_tf.files.paths import absolute, absolute_dataset

__all__ = ["TrainConfig"]


def _dataset_help() -> str:
    names = (f"{name}PATH" if name.endswith(":") else name for name in SOURCES)
    return (
        f"{', '.join(names)} or another TensorFlow Datasets name; the ImageNets with their size, as "
        "downsampled_imagenet/32x32"
    )


@dataclasses.dataclass(frozen=True)
class TrainConfig(OptionConfig):
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
        validation_share: in (0, 0.5]: the share of the training images that is held out for validation,
            and as many for test, where a data set has no such splits; None = the habit of its source.
        split_rule: a name of `lcma_tf.choices.RULES` (`lcma_tf.SPLIT_RULES`).
        channel_rotation: `none`, or `klt`: the colours are turned by the Karhunen-Loeve transform of the
            training set before the first level, pretraining included; grey images are left as they are.
        whitening: `none`, or `causal`: each pixel less what its neighbours above and to the left say of
            it, by a linear prediction fitted to the training set (`lcma_tf.fit_whitening`), after the
            colours are turned and before the first level, pretraining included.
        factorization_path: a saved factorization to use, so that nothing is pretrained, and whose rule
            is the run's: `split_rule` must be left out or the same. None = one is decided.
        initialize_from: a run, or a `.keras` file, whose weights the training begins with; None = with
            fresh ones. A pretraining begins with fresh ones always.
        train_steps: optimizer steps of the training.
        pretrain_steps: optimizer steps of the pretraining; None = as many as `train_steps`.
        factorize_at_step: in [1, train_steps): one run instead of two. So many of the `train_steps`, the
            first ones, are those of a flow without splits, by which the rule then decides; the others go
            on with its weights. `pretrain_steps` is not read. None = a pretraining of its own.
        batch_size: images a step, over all devices.
        optimizer: `adam` or `muon` (`lcma_tf.model.FusedMuon`), or another of `choices.OPTIMIZERS`.
        learning_rate: of the optimizer; the peak one, if the schedule is not constant.
        learning_rate_schedule: `constant` (the paper's) or `cosine` (decays to zero).
        warmup_steps: linear warm-up before the schedule.
        clip_norm: global norm at which gradients of nats per image are clipped.
        ema: momentum of the moving average of the weights, in (0, 1), 0.999 say: validation, the best
            state and all that comes after it are of the averages, which reach back no further than a
            tenth of the steps; None = of the weights themselves.
        flip: mirror training images at random.
        steps_per_epoch: steps between validations, checkpoints and lines of the history.
        seed: order of the data, noise, initial weights, the random rule.

    Raises:
        ConfigError: a field breaks its rule.

    Example:
        ```python
        import lcma_tf

        steps = lcma_tf.TrainConfig(split_rule="lcma", train_steps=900, batch_size=16)
        assert steps.pretrain_steps == 900  # As many, unless it is said.
        ```
    """

    dataset: str = option("photo_patches", _dataset_help)
    data_dir: str | None = option(
        None, "where the data set's archives are, or TensorFlow Datasets prepares it", is_path=True
    )
    image_size: int | None = option(None, "side to which pictures are cropped and resized")
    resampler: str = option(
        "antialias",
        "how celeb_a is resized: to 8 bits, or as the RealNVP program did, to real numbers",
        RESAMPLERS,
    )
    pad_to: int | None = option(
        None, "side to which images are padded with zeros; bits/dim are those of the pixels inside"
    )
    skip_bad_images: bool = option(
        False, "leave out the files of an image_folder that cannot be decoded, and say which"
    )
    validation_share: float | None = option(
        None,
        "share of the training images held out for validation, and as many for test, where a data set "
        "has no such splits; default: its own habit",
    )
    split_rule: str = option(UnaskedRule("lcma"), rules_help, RULES)
    channel_rotation: str = option(
        "none",
        "turn the colours by the orthogonal matrix that decorrelates them in the training set (klt)",
        ("none", "klt"),
    )
    whitening: str = option(
        "none",
        "leave of each pixel what a linear prediction from those above and to the left does not say, "
        "fitted to the training set (causal)",
        ("none", "causal"),
    )
    factorization_path: str | None = option(
        None, "a saved factorization, rule included, in place of a pretraining", is_path=True
    )
    initialize_from: str | None = option(
        None, "a run whose weights the training begins with", is_path=True
    )
    train_steps: int = option(10_000, "optimizer steps of the training")
    pretrain_steps: int = option(  # Set in __post_init__.
        None, "optimizer steps of the pretraining; default: as many as train_steps"
    )
    factorize_at_step: int | None = option(
        None,
        "decide the split after so many of train_steps, trained without splits, and go on with what was "
        "learned; default: after a pretraining of its own",
    )
    batch_size: int = option(64, "images a step, over all devices")
    optimizer: str = option("adam", "adam, or muon: for kernels, and Adam for the rest", OPTIMIZERS)
    learning_rate: float = option(1e-3, "of the optimizer")
    learning_rate_schedule: str = option(
        "constant", "constant, or decaying to zero along a cosine", ("constant", "cosine")
    )
    warmup_steps: int = option(0, "linear warm-up before the schedule")
    clip_norm: float = option(100.0, "global norm at which gradients of nats per image are clipped")
    ema: float | None = option(
        None,
        "momentum of the average of the weights that is scored, as 0.999; default: none is taken",
    )
    flip: bool = option(False, "mirror training images at random")
    steps_per_epoch: int = option(1_000, "steps between validations and checkpoints")
    seed: int = option(0, "order of the data, noise, initial weights, the random rule")

    def __post_init__(self):
        super().__post_init__()
        if self.pretrain_steps is None:
            object.__setattr__(self, "pretrain_steps", self.train_steps)
        is_name = isinstance(self.dataset, str) and self.dataset != ""
        require(is_name, "dataset", "the name of a data set", self.dataset)
        require_ints(self, 1, "train_steps", "pretrain_steps", "batch_size", "steps_per_epoch")
        require_ints(self, 0, "warmup_steps")
        require_seed(self)
        for name in ("image_size", "pad_to"):
            if getattr(self, name) is not None:
                require_ints(self, 1, name)
        share = self.validation_share
        if share is not None:
            require(is_finite(share) and 0 < share <= 0.5, "validation_share", "in (0, 0.5]", share)
        require_positive(self, "learning_rate", "clip_norm")
        if self.ema is not None:
            require(is_finite(self.ema) and 0 < self.ema < 1, "ema", "in (0, 1)", self.ema)
        self._check_choices(but=("split_rule",) if isinstance(self.split_rule, RuleThatWas) else ())
        for name in ("channel_rotation", "whitening"):
            rule = f"none where `factorization_path` gives a factorization, with the {name} that it has"
            value = getattr(self, name)
            require(self.factorization_path is None or value == "none", name, rule, value)
        self._check_factorize_at_step()
        schedules = ("train_steps", "pretrain_steps")
        for name in schedules[:1] if self.factorize_at_step is not None else schedules:
            steps, warmup = getattr(self, name), self.warmup_steps
            require(warmup < steps, "warmup_steps", f"less than {name}={steps}", warmup)

    def _check_factorize_at_step(self) -> None:
        step, rule = self.factorize_at_step, self.split_rule
        if step is None:
            return
        name, last = "factorize_at_step", self.train_steps - 1
        require_ints(self, 1, name)
        require(step <= last, name, f"less than train_steps={self.train_steps}", step)
        decides = isinstance(rule, RuleThatWas) or needs_pretraining(rule)
        require(decides, name, f"None with split_rule={rule!r}, which needs no pretraining", step)
        for other in ("factorization_path", "initialize_from"):
            require(getattr(self, other) is None, name, f"None where `{other}` is given", step)

    @property
    def steps_without_splits(self) -> int:
        """Steps of the flow that a rule is decided by, if it needs one: a pretraining, or a warm-up."""
        step = self.factorize_at_step
        return self.pretrain_steps if step is None else step

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`. An unknown field is an error; a rule that is gone is none.

        A run by such a rule can be read, scored and gone on with where its factorization is decided;
        to decide by it is refused.
        """
        rule = values.get("split_rule") if isinstance(values, Mapping) else None
        if isinstance(rule, str) and rule and rule not in RULES:
            values = {**values, "split_rule": RuleThatWas(rule)}
        return super().from_dict(values)

    def ruled_by(self, rule: str) -> Self:
        """The same run with the rule of the factorization that it is given, a name or a mere label.

        Raises:
            ConfigError: another rule was asked for.
        """
        asked, told = self.split_rule, f"left out, or {rule!r} as of the file at factorization_path"
        fits = asked == rule or rule not in RULES or isinstance(asked, UnaskedRule)
        require(fits, "split_rule", told, asked)
        return self.from_dict({**self.to_dict(), "split_rule": rule})

    def with_absolute_paths(self) -> Self:
        """The same run with paths that hold from any folder, and `~` expanded.

        Raises:
            ConfigError: a path begins with `~` and the name of no user.
        """
        places = {name: absolute for name, option in options(self).items() if option.is_path}
        paths = {}
        for name, function in {"dataset": absolute_dataset, **places}.items():
            try:
                paths[name] = function(getattr(self, name))
            except ValueError as error:
                raise ConfigError(f"`{name}`: {error}.") from error
        return dataclasses.replace(self, **paths)

    def data_options(self) -> dict[str, Any]:
        """The arguments of `lcma_tf.data.load`."""
        names = (
            "data_dir",
            "image_size",
            "resampler",
            "pad_to",
            "skip_bad_images",
            "validation_share",
        )
        return {"name": self.dataset, **{name: getattr(self, name) for name in names}}
