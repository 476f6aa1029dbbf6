"""Every picture is a readable PNG of real size; arrays of a wrong shape are refused by name."""

import numpy as np
import pytest
from matplotlib.image import AxesImage
from PIL import Image

from lcma_tf import plots


def random_images(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def random_factorization(image_shape: tuple[int, int, int], num_scales: int):
    """Contributions, masks and exit scales in the layout that a flow of this shape has."""
    rng = np.random.default_rng(0)
    height, width, channels = image_shape
    contributions, masks = [], []
    for level in range(num_scales - 1):
        shape = (height >> level, width >> level, channels << level)
        contributions.append(rng.normal(size=shape))
        masks.append(rng.random(shape) < 0.5)
    return contributions, masks, rng.integers(1, num_scales + 1, image_shape)


def curves(with_parts: bool, num_records: int = 20) -> dict[str, np.ndarray]:
    step = np.arange(num_records) * 10
    value = 4.0 + 30.0 * np.exp(-step / 20)
    columns = {
        "step": step,
        "bits_per_dim": value,
        "val_bits_per_dim": np.where(step % 50 == 0, value + 0.1, np.nan),
    }
    if with_parts:
        parts = ("latent", "layer_1", "layer_2", "layer_10", "pixel")
        columns |= {name: value / 5 for name in parts}
    return columns


def assert_picture(path, min_width: int = 300, min_height: int = 150) -> None:
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        assert min_width <= picture.width <= 3000
        assert min_height <= picture.height <= 3000
        assert len(np.unique(np.asarray(picture.convert("L")))) > 10, "almost one flat colour"


@pytest.mark.parametrize("shape", [(32, 32, 3), (28, 28, 1), (16, 32, 3)])
def test_pictures_of_images(tmp_path, shape):
    images = random_images(10, *shape)
    pictures = {
        "samples": lambda path: plots.save_samples(path, images, images[:4], temperature=0.7),
        "grid": lambda path: plots.save_image_grid(path, images, columns=4),
        "temperatures": lambda path: plots.save_temperatures(path, {1.0: images, 0.5: images}),
        "interpolation": lambda path: plots.save_interpolation(path, images.reshape(2, 5, *shape)),
        "reconstruction": lambda path: plots.save_reconstruction(path, images, images ^ 1),
        "exact": lambda path: plots.save_reconstruction(path, images[:1], images[:1]),
    }
    for name, save in pictures.items():
        save(tmp_path / name)
        assert_picture(tmp_path / name)


@pytest.mark.parametrize(
    ("shape", "num_scales"), [((32, 32, 3), 4), ((28, 28, 1), 2), ((8, 16, 3), 3), ((8, 8, 1), 1)]
)
def test_factorization(tmp_path, shape, num_scales):
    contributions, masks, exit_scale = random_factorization(shape, num_scales)
    for name, terms in {"with": contributions, "without": [None] * len(masks)}.items():
        plots.save_factorization(tmp_path / name, terms, masks, exit_scale)
        assert_picture(tmp_path / name)


@pytest.mark.parametrize("with_parts", [False, True])
def test_training_curves(tmp_path, with_parts):
    phases = {"pretrain": curves(with_parts), "train": curves(with_parts, 30)}
    plots.save_training_curves(tmp_path / "two", phases, {"PNG": 5.6, "WebP": 4.9})
    assert_picture(tmp_path / "two")
    one_record = {"train": curves(with_parts, 1)}
    plots.save_training_curves(tmp_path / "one", one_record)
    assert_picture(tmp_path / "one")


@pytest.fixture
def drawn(monkeypatch):
    """The figures in the place of their files."""
    figures = []
    for module in (plots.curves, plots.factorization):
        monkeypatch.setattr(module, "save_figure", lambda figure, path: figures.append(figure))
    return figures


def texts(figure) -> str:
    """Everything written in it, in one line."""
    written = figure.findobj(lambda artist: hasattr(artist, "get_text"))
    return " ".join(" ".join(text.get_text().split()) for text in written)


@pytest.mark.parametrize(
    ("rule", "with_terms", "words"),
    [
        ("lcma", True, "that contributed most go on"),
        ("realnvp", False, "the diagonal of each 2x2 block"),
        ("mine", True, "split rule 'mine'"),
    ],
)
def test_a_factorization_says_how_to_read_it(drawn, rule, with_terms, words):
    contributions, masks, exit_scale = random_factorization((8, 16, 3), 3)
    terms = contributions if with_terms else [None] * len(masks)
    plots.save_factorization("x", terms, masks, exit_scale, rule)
    told = texts(drawn[0])
    assert f"split rule '{rule}'" in told and words in told
    assert "blue goes on" in told and "goes on leaves here" in told
    assert ("contribution (nats)" in told) == ("in nats" in told) == with_terms
    assert "scale at which it leaves" in told and "3 (last)" in told
    assert "colours are turned" not in told and "whitened" not in told


def test_a_factorization_says_what_dimensions_are(drawn):
    contributions, masks, exit_scale = random_factorization((8, 16, 3), 3)
    turn = np.eye(3)[::-1]
    plots.save_factorization("x", contributions, masks, exit_scale, rotation=turn, whitens=True)
    told = texts(drawn[0])
    assert "turned first. ch 0 = +0.00 R +0.00 G +1.00 B" in told
    assert "images are whitened before the first scale: a dimension is what" in told


def test_curves_of_one_epoch_are_points_and_say_what_they_are(drawn):
    phases = {"pretrain": curves(True, 1), "train": curves(True, 1)}
    plots.save_training_curves("x", phases, {"PNG": 5.6})
    told = texts(drawn[0])
    assert "Training mostly lies above" in told and "compares with the dashed lines" in told
    assert "pretrain is another network than train" in told
    lines = drawn[0].findobj(lambda artist: hasattr(artist, "get_xydata"))
    points = [line for line in lines if len(line.get_xydata()) == 1 and line.axes is not None]
    curves_drawn = [
        line for line in points if line.get_label()[:1] != "_" or line.get_marker() == "."
    ]
    assert len(curves_drawn) == 2 * 2 + 2 * 5
    assert all(line.get_marker() in ("x", "o", ".") for line in curves_drawn)
    plots.save_training_curves("x", {"train": curves(False)})
    told = texts(drawn[1])
    assert "pretrain" not in told and "Parts" not in told and "dashed" not in told


def test_curves_of_one_run_tell_when_the_split_was_decided(drawn):
    first, second = curves(True, 2), curves(True, 3)
    second["step"] = second["step"] + first["step"][-1]
    step = int(first["step"][-1])
    plots.save_training_curves("x", {"pretrain": first, "train": second}, factorized_at=step)
    told = texts(drawn[0])
    assert f"One run: up to step {step:,} (pretrain) nothing leaves" in told
    assert "dotted: the split is decided" in told and "another network" not in told


def test_the_difference_of_a_reconstruction_counts_pixels_not_channels(tmp_path, monkeypatch):
    titles = []
    monkeypatch.setattr(plots.images, "_save_rows", lambda *arguments: titles.append(arguments[-1]))
    original = np.full((2, 4, 4, 3), 100, np.uint8)
    changed = original.copy()
    changed[0, 1, 2] = (97, 101, 102)
    plots.save_reconstruction(tmp_path / "x", original, changed)
    assert titles == ["Reconstruction: 1 of 32 pixels differ, by at most 3 of 255"]


IMAGES = random_images(4, 8, 8, 3)
TERMS, MASKS, EXITS = random_factorization((8, 8, 3), 2)
NO_LENGTH = {"step": np.arange(3), "bits_per_dim": np.ones(2), "val_bits_per_dim": np.ones(3)}


@pytest.mark.parametrize("counts", [(1,), (6, 2)])
@pytest.mark.parametrize("shape", [(32, 32, 3), (28, 28, 1), (16, 32, 3)])
def test_ranked_images(tmp_path, counts, shape):
    save_ranked(tmp_path / "ranked.png", *counts, shape=shape)
    assert_picture(tmp_path / "ranked.png")


def save_ranked(path, *counts, shape=(8, 8, 3), changes=()):
    groups = []
    for count in counts:
        maps = np.linspace(-1, 3, count * shape[0] * shape[1]).reshape(count, *shape[:2])
        captions = [(f"a/folder/with/a/{'long' * 9}/name_$1$_{i}.png", "0.5") for i in range(count)]
        group = plots.RankedImages("The most", random_images(count, *shape), maps, captions)
        groups.append(group._replace(**dict(changes)))
    plots.save_ranked_images(path, groups, "anomaly score")


def test_maps_of_ranked_images_share_colours_around_0(monkeypatch):
    figures = []
    monkeypatch.setattr(plots.ranked, "save_figure", lambda figure, path: figures.append(figure))
    save_ranked("unused.png", 6, 2)
    maps = [image for image in figures[0].findobj(AxesImage) if image.get_array().ndim == 2]
    (limits,) = {image.get_clim() for image in maps}
    assert len(maps) == 8 and limits[0] == -limits[1] < 0
    written = texts(figures[0])
    assert "name_$1$_5.png anomaly score 0.5" in written and "a/folder" not in written


@pytest.mark.parametrize(
    ("argument", "save"),
    [
        ("samples", lambda path: plots.save_samples(path, IMAGES[0], IMAGES)),
        ("samples", lambda path: plots.save_samples(path, IMAGES / 255, IMAGES)),
        ("data", lambda path: plots.save_samples(path, IMAGES, IMAGES[..., :2])),
        ("images", lambda path: plots.save_image_grid(path, IMAGES[:0], 2)),
        ("columns", lambda path: plots.save_image_grid(path, IMAGES, 0)),
        ("samples_by_temperature", lambda path: plots.save_temperatures(path, {})),
        (
            "samples_by_temperature",
            lambda path: plots.save_temperatures(path, {1.0: IMAGES, 0.5: IMAGES[:2]}),
        ),
        ("samples_by_temperature[0.5]", lambda path: plots.save_temperatures(path, {0.5: TERMS})),
        ("paths", lambda path: plots.save_interpolation(path, IMAGES)),
        ("paths", lambda path: plots.save_interpolation(path, IMAGES[:, None])),
        ("paths", lambda path: plots.save_interpolation(path, IMAGES[None].astype(float))),
        ("reconstructions", lambda path: plots.save_reconstruction(path, IMAGES, IMAGES[:2])),
        ("images", lambda path: save_ranked(path, 2, changes={"images": IMAGES / 255})),
        ("heat_maps", lambda path: save_ranked(path, 2, changes={"heat_maps": np.ones((2, 8))})),
        (
            "heat_maps",
            lambda path: save_ranked(path, 1, changes={"heat_maps": [[[np.nan] * 8] * 8]}),
        ),
        ("captions", lambda path: save_ranked(path, 2, changes={"captions": []})),
        ("contributions", lambda path: plots.save_factorization(path, [], MASKS, EXITS)),
        (
            "contributions",
            lambda path: plots.save_factorization(path, [TERMS[0][:4]], MASKS, EXITS),
        ),
        (
            "factorization_masks",
            lambda path: plots.save_factorization(path, TERMS, [MASKS[0].astype(int)], EXITS),
        ),
        ("exit_scale", lambda path: plots.save_factorization(path, TERMS, MASKS, EXITS + 1)),
        ("exit_scale", lambda path: plots.save_factorization(path, TERMS, MASKS, EXITS[0])),
        ("curves", lambda path: plots.save_training_curves(path, {})),
        ("curves['a']", lambda path: plots.save_training_curves(path, {"a": {"step": [1]}})),
        ("curves['a']", lambda path: plots.save_training_curves(path, {"a": NO_LENGTH})),
    ],
)
def test_bad_shapes_are_refused_by_name(tmp_path, argument, save):
    with pytest.raises(ValueError) as caught:
        save(tmp_path / "picture.png")
    assert f"`{argument}`" in str(caught.value)
    assert not (tmp_path / "picture.png").exists()


def score_values(shift: float, count: int = 300) -> dict[str, np.ndarray]:
    drawn = np.random.default_rng(0).normal(size=count) + shift
    return {"log_prob": 1e4 * drawn, "p": drawn % 1, "is_anomaly": drawn > 2, "same": drawn * 0}


def test_distributions_of_scores(tmp_path):
    far = {**score_values(3), "p": np.full(300, np.nan), "log_prob": np.full(300, -np.inf)}
    values = {"normal": score_values(0), "near": score_values(1, 7), "far": far}
    notes = {"near": {"log_prob": "0.761"}}
    titles = {"log_prob": "nats"}
    plots.save_score_distributions(tmp_path / "all", values, notes, titles, noted="AUROC")
    assert_picture(tmp_path / "all", min_width=1000, min_height=400)
    lost = {"normal": {"p": np.full(5, np.nan)}, "far": {"p": np.arange(5)}}
    plots.save_score_distributions(tmp_path / "lost", lost)
    assert_picture(tmp_path / "lost")


@pytest.mark.parametrize(
    "values", [{}, {"normal": {"a": np.arange(3)}, "far": {"b": np.arange(3)}}]
)
def test_sets_of_other_scores_are_refused(tmp_path, values):
    with pytest.raises(ValueError, match="`values.*must hold"):
        plots.save_score_distributions(tmp_path / "none", values)
    assert not list(tmp_path.iterdir())
