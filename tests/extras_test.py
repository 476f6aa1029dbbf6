"""Without an extra: one sentence with the way out, before any work; what needs none goes on."""

import sys

import pytest
from PIL import Image

import commands
import scored_runs
from lcma_tf import data, plots
from lcma_tf.extras import MissingExtraError, require_extra

DATA = ("tensorflow_datasets", "importlib_resources", "skimage", "sklearn")


@pytest.fixture
def without(monkeypatch):
    """`without(*modules)`: they are not installed, as far as Python can tell."""

    def hide(*modules):
        for module in modules:
            monkeypatch.setitem(sys.modules, module, None)

    return hide


def test_what_is_installed_is_enough():
    require_extra("numpy", "plots", "test")
    assert plots.require_matplotlib() is None


@pytest.mark.parametrize("main", ["train", "ablation"])
def test_what_ends_with_pictures_does_not_begin(without, tmp_path, main):
    dataset = commands.write_npz(tmp_path / "good.npz")
    before = commands.files(tmp_path)
    without("matplotlib")
    flags = commands.as_flags(dataset=dataset, workdir=tmp_path / "run", **commands.TINY)
    ended = commands.call(f"lcma_tf.{main}", *flags)
    commands.assert_refused(ended, '`matplotlib` must be installed pip install "lcma_tf[plots]"')
    assert commands.files(tmp_path) == before and ended.out == ""


@pytest.mark.parametrize("kind", ["temperatures", "interpolation"])
def test_a_figure_of_samples_is_refused(without, finished, tmp_path, kind):
    without("matplotlib")
    argv = [f"--workdir={finished.workdir}", f"--kind={kind}", f"--output={tmp_path / 'a.png'}"]
    ended = commands.call("lcma_tf.sample", *argv)
    commands.assert_refused(ended, '`matplotlib` must be installed pip install "lcma_tf[plots]"')
    assert not list(tmp_path.iterdir())


def test_a_grid_of_samples_needs_no_extra(without, finished, tmp_path):
    without("matplotlib", *DATA)
    argv = [f"--workdir={finished.workdir}", "--num_samples=2", f"--output={tmp_path / 'a.png'}"]
    ended = commands.call("lcma_tf.sample", *argv)
    assert ended.code == 0, ended
    assert (tmp_path / "a.png").read_bytes()[:4] == b"\x89PNG"


def test_scores_by_a_calibrated_run_need_no_extra(without, tmp_path):
    run = scored_runs.make_scored_run(tmp_path / "run")
    for number, image in enumerate(scored_runs.smooth_images(2)):
        Image.fromarray(image).save(tmp_path / f"{number}.png")
    without("matplotlib", "pyarrow", *DATA)
    flags = commands.as_flags(workdir=run, input=tmp_path / "*.png", output=tmp_path / "a.csv")
    ended = commands.call("lcma_tf.score", *flags)
    assert ended.code == 0 and "2 images scored, 0 not" in ended.out, ended


def test_a_picture_itself_says_it_too(without, tmp_path):
    without("matplotlib")
    with pytest.raises(MissingExtraError, match=r"`matplotlib` must be installed to draw figures"):
        plots.save_temperatures(tmp_path / "a.png", {1.0: commands.splits()["test"]})


@pytest.mark.parametrize("name", ["photo_patches", "photo_patches/64x64", "svhn_cropped", "mnist"])
@pytest.mark.parametrize("module", DATA[:2])
def test_named_sets_name_the_extra(without, tmp_path, name, module):
    without(module)
    ways = rf'`pip install "lcma_tf\[data\]"`, or `pip install {module}`'
    with pytest.raises(MissingExtraError, match=f"`{module}` must be installed .*{ways}"):
        data.load(name, data_dir=None if name == "mnist" else str(tmp_path))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("module", "distribution"),
    [("skimage", "scikit-image"), ("sklearn", "scikit-learn"), ("matplotlib", "matplotlib")],
)
def test_no_photograph_is_read_unless_all_are_there(without, tmp_path, module, distribution):
    without(module)
    ways = rf'`pip install {distribution}`, or, .*`pip install "lcma_tf\[data,plots\]"`'
    with pytest.raises(data.DataError, match=f"package {distribution}, .*{ways}"):
        data.load("photo_patches", data_dir=str(tmp_path))
    assert not list(tmp_path.rglob("*.tfrecord*"))


def test_images_of_ones_own_need_no_extra(without, tmp_path):
    without(*DATA)
    assert data.load(commands.write_npz(tmp_path / "good.npz")).image_shape == commands.SHAPE
