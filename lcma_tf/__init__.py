"""Exact-likelihood image flows with the likelihood contribution based multi-scale architecture.

Names are imported when first used: `import lcma_tf` loads no TensorFlow.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lcma_tf import bijectors as bijectors
    from lcma_tf import choices as choices
    from lcma_tf.config import ConfigError as ConfigError
    from lcma_tf.config import FlowConfig as FlowConfig
    from lcma_tf.config import TrainConfig as TrainConfig
    from lcma_tf.distribute.strategy import RuntimeConfig as RuntimeConfig
    from lcma_tf.experiment.method import learn_factorization as learn_factorization
    from lcma_tf.experiment.method import train as train
    from lcma_tf.factorization import SPLIT_RULES as SPLIT_RULES
    from lcma_tf.factorization import Factorization as Factorization
    from lcma_tf.factorization import FactorizationError as FactorizationError
    from lcma_tf.factorization import decide_factorization as decide_factorization
    from lcma_tf.model import FlowModel as FlowModel
    from lcma_tf.model import ModelFileError as ModelFileError
    from lcma_tf.model import NegativeLogLikelihood as NegativeLogLikelihood
    from lcma_tf.model import load as load
    from lcma_tf.model import recalibrate as recalibrate
    from lcma_tf.scores.calibrate import calibrate as calibrate
    from lcma_tf.scores.calibration import Calibration as Calibration
    from lcma_tf.scores.errors import CalibrationError as CalibrationError
    from lcma_tf.scores.scored_flow import ScoredFlow as ScoredFlow
    from lcma_tf.training.contributions import average_contributions as average_contributions
    from lcma_tf.training.image_statistics import fit_channel_rotation as fit_channel_rotation
    from lcma_tf.training.image_statistics import fit_whitening as fit_whitening

__version__ = "0.1.0"

_EXPORTS = {
    "Calibration": "scores.calibration",
    "CalibrationError": "scores.errors",
    "ConfigError": "config",
    "Factorization": "factorization",
    "FactorizationError": "factorization",
    "FlowConfig": "config",
    "FlowModel": "model",
    "ModelFileError": "model",
    "NegativeLogLikelihood": "model",
    "RuntimeConfig": "distribute.strategy",
    "SPLIT_RULES": "factorization",
    "ScoredFlow": "scores.scored_flow",
    "TrainConfig": "config",
    "average_contributions": "training.contributions",
    "calibrate": "scores.calibrate",
    "decide_factorization": "factorization",
    "fit_channel_rotation": "training.image_statistics",
    "fit_whitening": "training.image_statistics",
    "learn_factorization": "experiment.method",
    "load": "model",
    "recalibrate": "model",
    "train": "experiment.method",
}
_WITHOUT_TENSORFLOW = ("choices", "config", "data", "factorization")
_SUBPACKAGES = ("bijectors", "choices", "data", "flows", "networks")

__all__ = [*_EXPORTS, *_SUBPACKAGES]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name in __all__ and _EXPORTS.get(name, name) not in _WITHOUT_TENSORFLOW:
        from lcma_tf.backend import require_tensorflow

        require_tensorflow()
    if name in _SUBPACKAGES:
        return importlib.import_module(f"lcma_tf.{name}")
    if name in _EXPORTS:
        return getattr(importlib.import_module(f"lcma_tf.{_EXPORTS[name]}"), name)
    raise AttributeError(f"module 'lcma_tf' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
