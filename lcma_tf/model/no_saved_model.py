"""What Keras and TensorFlow would write of a flow themselves, refused: it could not be served."""

from __future__ import annotations

from typing import Any

__all__ = ["NoSavedModel"]

_RULE = (
    "A flow must be exported by `export.export_saved_model` (`lcma-export`), which makes a SavedModel "
    "with the signatures that are served; got a `FlowModel`, whose layers a SavedModel cannot run."
)


class NoSavedModel:
    """A mixin, before `keras.Model`: its `export` and `tf.saved_model.save` raise an error."""

    def export(self, *args, **kwargs):
        """Refused, in a sentence that says what exports a flow."""
        raise NotImplementedError(_RULE)

    def _trackable_children(self, save_type: str = "checkpoint", **kwargs: Any) -> dict[str, Any]:
        # Asked by `tf.saved_model.save`, which would write a SavedModel without a signature that runs.
        if save_type == "savedmodel":
            raise NotImplementedError(_RULE)
        return super()._trackable_children(save_type, **kwargs)  # pyright: ignore[reportAttributeAccessIssue]
