"""SavedModels run from Python: `lcma_tf.serving.runtime.cpp_session`."""

from lcma_tf.serving.runtime.cpp_session import (
    Code,
    CppSession,
    CppSessionError,
    Signature,
    TensorInfo,
)

__all__ = ["Code", "CppSession", "CppSessionError", "Signature", "TensorInfo"]
