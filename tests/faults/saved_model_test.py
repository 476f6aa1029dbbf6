"""What a SavedModel of a Keras flow would be is refused, in a sentence that says how to export one."""

import pytest
import tensorflow as tf

from testing import tiny_flow


@pytest.fixture(scope="module")
def model():
    return tiny_flow(image_shape=(4, 4, 1), num_scales=1)


class Program(tf.Module):
    """A user's own, with a flow in it."""

    def __init__(self, model):
        super().__init__()
        self.model = model


@pytest.mark.parametrize(
    "save",
    [
        lambda model, path: tf.saved_model.save(model, path),
        lambda model, path: tf.saved_model.save(Program(model), path),
        lambda model, path: model.export(path),
        lambda model, path: model.export(path, format="tf_saved_model"),
    ],
    ids=["save", "save a part", "export", "export by format"],
)
def test_a_saved_model_is_refused(model, save, tmp_path):
    with pytest.raises(
        NotImplementedError, match=r"must be exported by `export.export_saved_model`"
    ):
        save(model, str(tmp_path / "saved"))


def test_a_checkpoint_is_not(model, tmp_path):
    path = tf.train.Checkpoint(model=model).write(str(tmp_path / "checkpoint"))
    weight = model.trainable_variables[0]
    before = weight.numpy()
    weight.assign(before + 1)
    tf.train.Checkpoint(model=model).read(path)
    assert (weight.numpy() == before).all()
