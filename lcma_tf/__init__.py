"""Exact-likelihood image flows with the likelihood contribution based multi-scale architecture.

Names are imported when first used: `import lcma_tf` loads no TensorFlow.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lcma_tf import bijectors as bijectors
    from lcma_tf.config import ConfigError as ConfigError
    from lcma_tf.config import FlowConfig as FlowConfig
    from lcma_tf.config import TrainConfig as TrainConfig
    from lcma_tf.factorization import SPLIT_RULES as SPLIT_RULES
    from lcma_tf.factorization import Factorization as Factorization
    from lcma_tf.factorization import FactorizationError as FactorizationError
    from lcma_tf.factorization import decide_factorization as decide_factorization
    from lcma_tf.model import FlowModel as FlowModel
    from lcma_tf.model import ModelFileError as ModelFileError
    from lcma_tf.model import NegativeLogLikelihood as NegativeLogLikelihood
    from lcma_tf.model import load as load

__version__ = "0.1.0"

_EXPORTS = {
    "ConfigError": "config",
    "Factorization": "factorization",
    "FactorizationError": "factorization",
    "FlowConfig": "config",
    "FlowModel": "model",
    "ModelFileError": "model",
    "NegativeLogLikelihood": "model",
    "SPLIT_RULES": "factorization",
    "TrainConfig": "config",
    "decide_factorization": "factorization",
    "load": "model",
}
_OF_KERAS = ("bijectors", "flows", "model", "networks")
_SUBPACKAGES = ("bijectors", "data", "flows", "networks")

__all__ = [*_EXPORTS, *_SUBPACKAGES]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if _EXPORTS.get(name, name) in _OF_KERAS:
        from lcma_tf.backend import require_tensorflow

        require_tensorflow()
    if name in _SUBPACKAGES:
        return importlib.import_module(f"lcma_tf.{name}")
    if name in _EXPORTS:
        return getattr(importlib.import_module(f"lcma_tf.{_EXPORTS[name]}"), name)
    raise AttributeError(f"module 'lcma_tf' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
