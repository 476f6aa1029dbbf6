"""The frozen descriptions of a flow and of a run. Plain Python; every rule on values is here."""

from lcma_tf.config.checks import (
    MAX_SEED,
    MAX_TEMPERATURE,
    ConfigError,
    check_temperature,
    is_number,
    is_rate,
    require,
    require_count,
    require_ints,
    require_kind,
    set_plain_values,
)
from lcma_tf.config.flow import FlowConfig
from lcma_tf.config.options import Option, options
from lcma_tf.config.train import TrainConfig

__all__ = [
    "MAX_SEED",
    "MAX_TEMPERATURE",
    "ConfigError",
    "FlowConfig",
    "Option",
    "TrainConfig",
    "check_temperature",
    "is_number",
    "is_rate",
    "options",
    "require",
    "require_count",
    "require_ints",
    "require_kind",
    "set_plain_values",
]
