"""What an export answers, through the C++ loader: the model's numbers, or INVALID_ARGUMENT."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import lcma_tf
from lcma_tf import config
from lcma_tf.serving.client.checks import MAX_TEMPERATURE
from lcma_tf.serving.graph.encoded_images import JPEG_METHODS
from lcma_tf.serving.graph.signatures import ServingFlow
from lcma_tf.serving.publishing.export_flow import export_flow
from lcma_tf.serving.publishing.graph_scan import graph_problems
from lcma_tf.serving.runtime.cpp_session import CppSession, CppSessionError
from saved_flows import save_flow
from testing import assert_same_in_any_batch, random_images, tiny_flow

INVALID_ARGUMENT = 3
SHAPE = (8, 8, 3)
IMAGES = random_images(256, SHAPE)
SEEDS = np.stack([np.arange(8), 100 - np.arange(8)], axis=1).astype(np.int32)


@pytest.fixture(scope="module")
def export(tmp_path_factory):
    model = tiny_flow(image_shape=SHAPE, base_dim=4)
    return model, save_flow(model.frozen(), tmp_path_factory.mktemp("export") / "flow")


@pytest.fixture(scope="module")
def session(export):
    with CppSession(export[1], check=False) as session:
        yield session


def in_batches(session, signature, size, **inputs):
    parts = [
        session.run(signature, {name: value[i : i + size] for name, value in inputs.items()})
        for i in range(0, len(next(iter(inputs.values()))), size)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def as_file(image, kind="PNG", mode=None, **options):
    picture = Image.fromarray(image.squeeze() if image.shape[-1] == 1 else image)
    if mode is not None:
        picture = picture.convert(mode)
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def strings(*values):
    return np.array([*values, None], object)[:-1]


def sampling(seeds=SEEDS, temperature=1.0):
    return {"seed": seeds, "temperature": np.full(len(seeds), temperature, np.float32)}


def test_scores_are_those_of_the_model(export, session):
    found = in_batches(session, "log_prob", 64, images=IMAGES)
    np.testing.assert_allclose(found["log_prob"], export[0].log_prob(IMAGES), rtol=1e-5)
    np.testing.assert_allclose(found["bits_per_dim"], export[0].bits_per_dim(IMAGES), rtol=1e-5)
    assert found["log_prob"].dtype == np.float32


def test_a_score_is_the_same_in_every_batch(session):
    whole = in_batches(session, "log_prob", 64, images=IMAGES[:64])["log_prob"]
    for size in (1, 3, 8):
        parts = in_batches(session, "log_prob", size, images=IMAGES[:64])["log_prob"]
        assert_same_in_any_batch(parts, whole)
    order = np.random.default_rng(0).permutation(64)
    shuffled = session.run("log_prob", {"images": IMAGES[order]})["log_prob"]
    assert_same_in_any_batch(shuffled, whole[order])


def test_a_batch_invariant_one_has_the_same_bits_in_every_batch(tmp_path):
    model = tiny_flow(
        image_shape=(6, 10, 1), base_dim=3
    )  # Sizes that no block of a kernel divides.
    images, flow = random_images(16, (6, 10, 1)), model.frozen(batch_invariant=True)
    folder = save_flow(flow, tmp_path / "flow", num_importance_samples=2)
    with CppSession(folder, check=False) as session:
        latents = session.run("encode", {"images": images})["latents"]
        inputs = {"log_prob": {"images": images}, "encode": {"images": images}}
        inputs |= {"decode": {"latents": latents}, "sample": sampling(np.tile(SEEDS, (2, 1)))}
        for signature, values in inputs.items():
            whole = session.run(signature, values)
            for size in (1, 3, 8):
                for name, parts in in_batches(session, signature, size, **values).items():
                    np.testing.assert_array_equal(parts, whole[name], err_msg=signature)
        found = session.run("log_prob", {"images": images})["log_prob"]
    np.testing.assert_allclose(found, model.log_prob(images, 0, 2), rtol=1e-5)


def test_no_batch_is_cut_in_pieces_whatever_the_threads_here(tmp_path, monkeypatch):
    monkeypatch.setattr(tf.config.threading, "get_intra_op_parallelism_threads", lambda: 1)
    monkeypatch.setattr(tf.config.threading, "get_inter_op_parallelism_threads", lambda: 3)
    export_flow(tiny_flow(image_shape=(8, 8, 2)), tmp_path / "export")
    (saved,) = (tmp_path / "export").rglob("saved_model.pb")
    function = tf.saved_model.load(str(saved.parent)).signatures["log_prob"]
    ops = function.graph.get_operations()
    assert ops and not [op.type for op in ops if "While" in op.type]


def test_the_clients_limit_of_the_temperature_is_the_models():
    """Two numbers, since a client is there without the model."""
    assert MAX_TEMPERATURE == config.MAX_TEMPERATURE


def test_the_default_signature_is_log_prob(session):
    default = session.run("serving_default", {"images": IMAGES[:8]})
    assert default.keys() == {"log_prob", "bits_per_dim"}
    scored = session.run("log_prob", {"images": IMAGES[:8]})
    np.testing.assert_array_equal(default["log_prob"], scored["log_prob"])


def test_latents_are_those_of_the_model_and_come_back(export, session):
    latents = session.run("encode", {"images": IMAGES[:8]})["latents"]
    np.testing.assert_allclose(latents, export[0].encode(IMAGES[:8]), rtol=1e-4, atol=1e-4)
    images = session.run("decode", {"latents": latents})["images"]
    np.testing.assert_array_equal(images, IMAGES[:8])


def test_a_sample_depends_on_its_own_seed_alone(session):
    whole = session.run("sample", sampling())["images"]
    assert whole.shape == (8, *SHAPE) and whole.dtype == np.uint8
    alone = in_batches(session, "sample", 1, **sampling())["images"]
    assert_same_in_any_batch(alone, whole)
    assert len({image.tobytes() for image in whole}) == 8
    mixed = sampling() | {"temperature": np.linspace(0, MAX_TEMPERATURE, 8, dtype=np.float32)}
    mixed["temperature"][3] = 1.0
    assert_same_in_any_batch(session.run("sample", mixed)["images"][3], whole[3])


def test_at_temperature_zero_a_sample_is_the_image_of_the_zero_latent(export, session):
    images = session.run("sample", sampling(temperature=0.0))["images"]
    zero = export[0].decode(np.zeros((1, *SHAPE), np.float32)).numpy()
    assert_same_in_any_batch(images, np.repeat(zero, 8, axis=0))


def test_pixel_means_of_samples_are_those_of_the_model(export, session):
    """Another stream of numbers, the same distribution."""
    seeds = np.stack([np.arange(512), np.zeros(512, int)], axis=1).astype(np.int32)
    ours = in_batches(session, "sample", 64, **sampling(seeds))["images"].astype(float)
    theirs = export[0].sample(512, seed=5).numpy().astype(float)
    error = np.sqrt(ours.var(axis=0) / 512 + theirs.var(axis=0) / 512)
    distance = np.abs(ours.mean(axis=0) - theirs.mean(axis=0)) / error
    assert distance.max() < 5


@pytest.mark.parametrize("options", [{}, {"mode": "RGBA"}, {"mode": "P"}], ids=str)
def test_a_png_scores_as_its_pixels(session, options):
    files = [as_file(image, **options) for image in IMAGES[:4]]
    pixels = np.stack([Image.open(io.BytesIO(file)).convert("RGB") for file in files])
    encoded = session.run("log_prob_encoded", {"image_bytes": strings(*files)})
    scored = session.run("log_prob", {"images": pixels})
    np.testing.assert_array_equal(encoded["log_prob"], scored["log_prob"])


def test_a_grey_file_is_three_equal_channels(session):
    for kind in ("PNG", "JPEG"):
        files = [as_file(image, kind, mode="L") for image in IMAGES[:2]]
        pixels = np.stack([Image.open(io.BytesIO(file)).convert("RGB") for file in files])
        encoded = session.run("log_prob_encoded", {"image_bytes": strings(*files)})["log_prob"]
        scored = session.run("log_prob", {"images": pixels})["log_prob"]
        np.testing.assert_array_equal(encoded, scored)


@pytest.mark.parametrize("method", JPEG_METHODS)
def test_a_jpeg_is_decoded_by_the_method_of_the_training_data(tmp_path, method):
    model = tiny_flow(image_shape=SHAPE)
    files = [as_file(image, "JPEG", quality=90) for image in IMAGES[:8]]
    decoded = {m: [tf.io.decode_jpeg(f, dct_method=m).numpy() for f in files] for m in JPEG_METHODS}
    assert np.any(decoded[JPEG_METHODS[0]] != np.array(decoded[JPEG_METHODS[1]]))
    with CppSession(save_flow(model.frozen(), tmp_path / "flow", jpeg_method=method)) as session:
        encoded = session.run("log_prob_encoded", {"image_bytes": strings(*files)})
        scored = session.run("log_prob", {"images": np.stack(decoded[method])})
    np.testing.assert_array_equal(encoded["log_prob"], scored["log_prob"])


def test_the_accurate_method_is_pillows(session):
    files = [as_file(image, "JPEG") for image in IMAGES[:16]]
    pixels = np.stack([Image.open(io.BytesIO(file)) for file in files])
    encoded = session.run("log_prob_encoded", {"image_bytes": strings(*files)})["log_prob"]
    np.testing.assert_array_equal(encoded, session.run("log_prob", {"images": pixels})["log_prob"])


def image_of(height, width, dtype=np.uint8, channels=3, rows=1):
    return {"images": np.zeros((rows, height, width, channels), dtype)}


PNG = as_file(IMAGES[0])
JPEG = as_file(IMAGES[0], "JPEG")
LATENTS = np.zeros((2, *SHAPE), np.float32)
LARGE = np.zeros((9, 9, 3), np.uint8)
BAD = {
    "one channel": ("log_prob", image_of(8, 8, channels=1), "images_shape"),
    "one pixel": ("log_prob", image_of(1, 1), "images_shape"),
    "a row of pixels": ("log_prob", image_of(1, 8), "images_shape"),
    "no batch": ("log_prob", {"images": IMAGES[0]}, "images_shape"),
    "rank 5": ("log_prob", {"images": IMAGES[None, :2]}, "images_shape"),
    "rank 0": ("log_prob", {"images": np.uint8(1)}, "images_shape"),
    "float pixels": ("log_prob", image_of(8, 8, np.float32), "uint8"),
    "no image": ("log_prob", image_of(8, 8, rows=0), "images: must have 1 to 64 rows"),
    "many images": ("encode", image_of(8, 8, rows=65), "images: must have 1 to 64 rows"),
    "no seed": ("sample", sampling(SEEDS[:0]), "seed: must have 1 to 64 rows"),
    "one seed number": ("sample", sampling(SEEDS[:, :1]), "seed_shape"),
    "one temperature for all": (
        "sample",
        {"seed": SEEDS, "temperature": np.ones(1, np.float32)},
        "seed and temperature: must have the same number of rows",
    ),
    "temperature of rank 2": (
        "sample",
        {"seed": SEEDS, "temperature": np.ones((8, 1), np.float32)},
        "temperature_shape",
    ),
    "NaN temperature": ("sample", sampling(temperature=np.nan), "temperature: must be between"),
    "huge temperature": ("sample", sampling(temperature=1e30), "temperature: must be between"),
    "negative": ("sample", sampling(temperature=-0.1), "temperature: must be between 0 and 2"),
    "NaN latent": ("decode", {"latents": LATENTS * np.nan}, "latents: must be finite"),
    "infinite latent": ("decode", {"latents": LATENTS + np.inf}, "latents: must be finite"),
    "flat latents": ("decode", {"latents": LATENTS.reshape(2, -1)}, "latents_shape"),
    "no file": ("log_prob_encoded", {"image_bytes": strings(b"")}, ""),
    "no files": ("log_prob_encoded", {"image_bytes": strings()}, "image_bytes: must have 1 to 64"),
    "text": (
        "log_prob_encoded",
        {"image_bytes": strings(b"no picture at all, but long enough")},
        "must be a PNG or a JPEG file",
    ),
    "GIF": ("log_prob_encoded", {"image_bytes": strings(as_file(IMAGES[0], "GIF"))}, "a PNG or"),
    "BMP": ("log_prob_encoded", {"image_bytes": strings(as_file(IMAGES[0], "BMP"))}, "a PNG or"),
    "large PNG": ("log_prob_encoded", {"image_bytes": strings(as_file(LARGE))}, "8x8 pixels"),
    "large JPEG": (
        "log_prob_encoded",
        {"image_bytes": strings(as_file(LARGE, "JPEG"))},
        "a JPEG must be 8x8 pixels",
    ),
    "CMYK": (
        "log_prob_encoded",
        {"image_bytes": strings(as_file(IMAGES[0], "JPEG", mode="CMYK"))},
        "number of channels",
    ),
    "torn PNG": ("log_prob_encoded", {"image_bytes": strings(PNG[:-30])}, ""),
    "torn JPEG": ("log_prob_encoded", {"image_bytes": strings(JPEG[: len(JPEG) // 2])}, ""),
    "header alone": ("log_prob_encoded", {"image_bytes": strings(PNG[:25])}, ""),
    "one bad of two": ("log_prob_encoded", {"image_bytes": strings(PNG, JPEG[:40])}, ""),
}


@pytest.mark.parametrize("name", BAD)
def test_what_it_was_not_made_for_is_refused_and_does_no_harm(session, name):
    signature, inputs, words = BAD[name]
    before = session.run("log_prob", {"images": IMAGES[:2]})["log_prob"]
    with pytest.raises(CppSessionError, match=words or None) as caught:
        session.run(signature, inputs)
    assert caught.value.code == INVALID_ARGUMENT
    after = session.run("log_prob", {"images": IMAGES[:2]})["log_prob"]
    np.testing.assert_array_equal(after, before)


def test_a_png_of_16_bits_is_refused(session):
    file = io.BytesIO()
    Image.fromarray(np.zeros(SHAPE[:2], np.uint16)).save(file, "PNG")
    with pytest.raises(CppSessionError, match="8 bits a channel") as caught:
        session.run("log_prob_encoded", {"image_bytes": strings(file.getvalue())})
    assert caught.value.code == INVALID_ARGUMENT


def test_settings_reach_the_graph(tmp_path):
    model = tiny_flow(image_shape=(4, 4, 1))
    settings = {"noise_seed": 5, "num_importance_samples": 3, "max_batch_size": 4}
    images = random_images(4, (4, 4, 1))
    with CppSession(
        save_flow(model.frozen(), tmp_path / "flow", **settings), check=False
    ) as session:
        found = session.run("log_prob", {"images": images})["log_prob"]
        np.testing.assert_allclose(found, model.log_prob(images, 5, 3), rtol=1e-5)
        assert np.abs(found - model.log_prob(images)).min() > 1e-3
        with pytest.raises(CppSessionError, match="must have 1 to 4 rows"):
            session.run("log_prob", {"images": np.concatenate([images, images])})
        # Of a grey flow: a grey file is as it is, one of colours is refused.
        files = strings(*[as_file(image) for image in images])
        encoded = session.run("log_prob_encoded", {"image_bytes": files})["log_prob"]
        np.testing.assert_array_equal(encoded, found)
        for kind, words in (("PNG", "colour type"), ("JPEG", "number of channels")):
            colour = strings(as_file(images[0], kind, mode="RGB"))
            with pytest.raises(CppSessionError, match=words):
                session.run("log_prob_encoded", {"image_bytes": colour})


def test_a_flow_of_float64_answers_in_float32(tmp_path):
    model = tiny_flow(dtype="float64")
    images = random_images(3, (4, 4, 2))
    frozen = model.frozen()
    scores = ServingFlow(frozen).signatures["log_prob"](images=tf.constant(images))["log_prob"]
    assert scores.dtype == tf.float32
    np.testing.assert_allclose(scores, frozen.log_prob(images), rtol=1e-6)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_importance_samples": 0}, "`num_importance_samples` must be at least 1; got 0"),
        (
            {"num_importance_samples": 1001},
            "`num_importance_samples` must be at most 1000; got 1001",
        ),
        ({"max_batch_size": 0}, "`max_batch_size` must be at least 1; got 0"),
        ({"max_batch_size": 2**31}, f"`max_batch_size` must be at most {2**31 - 1}; got {2**31}"),
        ({"jpeg_method": "FAST"}, "`jpeg_method` must be one of .*INTEGER_FAST.*; got 'FAST'"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(lcma_tf.ConfigError, match=message):
        ServingFlow(tiny_flow().frozen(), **settings)


def test_every_weight_is_stored_once_and_the_graph_runs_anywhere(export):
    model, version = export
    frozen = model.frozen()
    numbers = sum(int(np.prod(variable.shape)) for variable in frozen.variables)
    stored = (version / "variables/variables.data-00000-of-00001").stat().st_size
    # Beside the numbers, TensorFlow's object graph.
    assert 4 * numbers <= stored < 4 * numbers + 300 * len(frozen.variables) + 2_000
    assert graph_problems(version) == []


class Stranger(tf.Module):
    """Does what no served graph should, inside a function inside a function."""

    def __init__(self, function):
        super().__init__()
        self.weight = tf.Variable(1.0)
        inner = tf.function(function, autograph=False)
        outer = tf.function(lambda x: {"y": inner(x) * self.weight}, autograph=False)
        self.signature = outer.get_concrete_function(tf.TensorSpec([None], name="x"))


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda x: tf.ensure_shape(tf.numpy_function(np.sin, [x], tf.float32), [None]), "Python"),
        (tf.function(lambda x: 2 * x, jit_compile=True), "XLA"),
        (lambda x: x + tf.random.normal([]), "keeps a state"),
        (lambda x: x + tf.constant(np.arange(2**19, dtype=np.float32))[0], "2,097,152 bytes"),
    ],
    ids=["python", "xla", "random", "constant"],
)
def test_a_graph_that_would_not_run_anywhere_is_found(tmp_path, function, words):
    module = Stranger(function)
    tf.saved_model.save(module, str(tmp_path), signatures=module.signature)
    problems = graph_problems(tmp_path)
    assert any(words in problem for problem in problems), problems


def test_a_named_device_is_found(tmp_path):
    def on_gpu(x):
        with tf.device("/device:GPU:0"):
            return tf.sin(x)

    module = Stranger(on_gpu)
    tf.saved_model.save(module, str(tmp_path), signatures=module.signature)
    assert any("/device:GPU:0" in problem for problem in graph_problems(tmp_path))
