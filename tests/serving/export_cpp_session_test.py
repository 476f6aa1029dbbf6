"""SavedModels run in TensorFlow's C++ session: what comes out, what is refused, what is freed."""

import concurrent.futures
import gc
import os
import pathlib
import threading
import time

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

import plain_saved_models
from lcma_tf.serving.runtime.cpp_session import CppSession, CppSessionError, Signature, TensorInfo
from lcma_tf.serving.runtime.meta_graph import read_meta_graph, read_signatures
from plain_saved_models import EVERY, IMAGES

GRAPPLER_OFF = tf.compat.v1.ConfigProto(intra_op_parallelism_threads=1)
GRAPPLER_OFF.graph_options.rewrite_options.disable_meta_optimizer = True


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return plain_saved_models.save(tmp_path_factory.mktemp("plain") / "1")


@pytest.fixture(scope="module")
def session(path):
    with CppSession(path) as session:
        yield session


@pytest.fixture(scope="module")
def unchecked(path):
    with CppSession(path, check=False) as session:
        yield session


def test_signatures_are_read_from_the_graph(session):
    names = ["checked", "every", "fourth", "level", "logarithm", "scale", "text"]
    assert list(session.signatures) == names  # And not __saved_model_init_op.
    scale = session.signatures["scale"]
    assert isinstance(scale, Signature)
    images = scale.inputs["images"]
    assert images == TensorInfo("scale_images:0", np.dtype(np.uint8), (None, 2, 3, 3))
    assert {name: info.shape for name, info in scale.outputs.items()} == {
        "same": (None, 2, 3, 3),
        "scaled": (None, 2, 3, 3),
        "total": (None,),
    }
    assert session.signatures["checked"].inputs["images"].shape is None
    assert session.signatures["logarithm"].inputs["shift"].shape == ()
    every = session.signatures["every"].inputs
    assert {name: info.dtype for name, info in every.items()} == {
        name: array.dtype for name, array in EVERY.items()
    }


def test_a_size_of_zero_is_not_an_unknown_one():
    message = tf.compat.v1.MetaGraphDef()
    info = message.signature_def["f"].inputs["x"]
    info.name, info.dtype = "x:0", 1
    for size in (0, -1, 300):
        info.tensor_shape.dim.add(size=size)
    read = read_signatures(message)
    assert read["f"].inputs["x"] == TensorInfo("x:0", np.dtype(np.float32), (0, None, 300))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda info: info.coo_sparse.SetInParent(), "plain tensor, not a sparse"),
        (lambda info: setattr(info, "dtype", tf.bfloat16.as_datatype_enum), "got bfloat16"),
    ],
)
def test_tensors_without_an_array_are_refused(change, message):
    graph = tf.compat.v1.MetaGraphDef()
    info = graph.signature_def["f"].outputs["x"]
    info.name, info.dtype = "x:0", 1
    change(info)
    with pytest.raises(ValueError, match=f"`f/x` must .*{message}"):
        read_signatures(graph)


def test_a_saved_model_for_others_is_refused(tmp_path):
    saved = saved_model_pb2.SavedModel()
    saved.meta_graphs.add().meta_info_def.tags.append("train")
    (tmp_path / "saved_model.pb").write_bytes(saved.SerializeToString())
    with pytest.raises(ValueError, match="must hold a graph with the tag 'serve'; it does not"):
        read_meta_graph(tmp_path)


def test_values_are_those_of_the_graph(session):
    images = np.concatenate([IMAGES, 3 * IMAGES])
    answer = session.run("scale", {"images": images})
    assert set(answer) == {"scaled", "total", "same"}
    np.testing.assert_array_equal(answer["scaled"], 0.5 * images)
    np.testing.assert_array_equal(answer["total"], 0.5 * images.sum((1, 2, 3)))
    assert answer["same"].dtype == np.uint8 and answer["total"].dtype == np.float32
    before = images.copy()
    answer["same"][0] = 7  # A copy of its own, that may be written to.
    np.testing.assert_array_equal(images, before)
    np.testing.assert_array_equal(session.run("scale", {"images": images})["same"], images)


def test_every_dtype_goes_in_and_comes_out_as_it_is(session):
    answer = session.run("every", EVERY)
    for name, array in EVERY.items():
        assert answer[f"{name}_again"].dtype == array.dtype
        np.testing.assert_array_equal(answer[f"{name}_again"], array)


def test_no_rows_and_no_dims_are_shapes_too(session):
    nothing = {name: array[:0] for name, array in EVERY.items()}
    assert {array.shape for array in session.run("every", nothing).values()} == {(0,)}
    inputs = {"values": np.ones((2, 1), np.float32), "shift": np.float32(np.e - 1)}
    np.testing.assert_allclose(session.run("logarithm", inputs)["logarithm"], [[1], [1]])


def test_memory_order_does_not_matter(session):
    images = np.random.default_rng(0).integers(0, 256, (3, 3, 2, 4), dtype=np.uint8).T[:, ::1]
    assert not images.flags.c_contiguous and images.shape == (4, 2, 3, 3)
    np.testing.assert_array_equal(session.run("scale", {"images": images})["same"], images)


@pytest.mark.parametrize(
    "text",
    [
        [b"ab\0", "c\u00e9"],
        np.array([b"ab\0", "c\u00e9"], object),
        np.array([[b"ab\0"], ["c\u00e9"]], object)[:, 0],
    ],
)
def test_strings_are_bytes_or_str(session, text):
    answer = session.run("text", {"text": text})
    assert answer["twice"].tolist() == [b"ab\0ab\0", b"c\xc3\xa9c\xc3\xa9"]
    assert answer["length"].tolist() == [3, 3]


def test_numpys_own_strings_go_in_too(session):
    assert session.run("text", {"text": np.array(["abc"])})["length"].tolist() == [3]
    assert session.run("text", {"text": np.array([b"abc"])})["length"].tolist() == [3]


@pytest.mark.parametrize("outputs", [["total"], ("same", "total"), []])
def test_some_outputs_alone(session, outputs):
    answer = session.run("scale", {"images": IMAGES}, outputs)
    assert set(answer) == set(outputs or ["scaled", "total", "same"])
    assert answer["total"].tolist() == [0.5 * IMAGES.sum()]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("none", {}), 9, "`signature` must be one of checked, every,.* scale, text; got 'none'."),
        (("scale", {}), 3, "`inputs` of scale must be images; got none."),
        (
            ("logarithm", {"values": 0, "offset": 0}),
            3,
            "`inputs` of logarithm must be shift, values; got offset, values.",
        ),
        (
            ("scale", {"images": IMAGES}, ["sum"]),
            3,
            "`outputs` of scale must be distinct and of same, scaled, total; got sum.",
        ),
        (("scale", {"images": IMAGES}, ["same", "same"]), 3, "distinct and of .* same, same"),
        (("text", {"text": np.array([b"a", 1], object)}), 3, "hold bytes or str; got int"),
        (("scale", {"images": IMAGES.astype(complex)}), 3, "must .*; got complex128"),
    ],
)
def test_wrong_names_are_refused_checked_or_not(session, unchecked, arguments, code, message):
    for either in (session, unchecked):
        with pytest.raises(CppSessionError, match=message) as refused:
            either.run(*arguments)
        assert refused.value.code == code


@pytest.mark.parametrize(
    ("signature", "images", "checked_message", "message"),
    [
        ("scale", IMAGES[0], "shape .None, 2, 3, 3.; got .2, 3, 3.", "Invalid reduction"),
        ("scale", IMAGES / 1, "must be uint8; got float64", "must be uint8; got float64"),
        ("scale", np.array([b"a"]), "must be uint8; got string", "must be uint8; got string"),
        ("checked", IMAGES[0], "EnsureShape", r"\[2,3,3\] is not compatible with expected"),
        ("checked", IMAGES[:0], "no rows", "Running checked: assertion failed: .no rows"),
    ],
)
def test_wrong_inputs_are_invalid_arguments(
    session, unchecked, signature, images, checked_message, message
):
    for either, wanted in ((session, checked_message), (unchecked, message)):
        with pytest.raises(CppSessionError, match=wanted) as refused:
            either.run(signature, {"images": images})
        assert refused.value.code == 3
        assert either.run(signature, {"images": IMAGES})["total"].shape == (1,)


def test_a_refusal_that_is_no_text_is_one_too(session):
    for text in (b"a", b"\x89"):
        with pytest.raises(CppSessionError, match="Running fourth: "):
            session.run("fourth", {"text": [text]})
    assert session.run("fourth", {"text": [b"abcde"]})["byte"].tolist() == [b"e"]


def test_unchecked_shapes_are_left_to_the_graph(unchecked):
    grey = IMAGES[..., :1]
    assert unchecked.run("scale", {"images": grey})["same"].shape == grey.shape


def test_threads_may_share_a_session(session):
    start = threading.Barrier(8)

    def run(thread):
        start.wait()
        for repeat in range(50):
            images = np.full((1 + repeat % 3, 2, 3, 3), thread, np.uint8)
            text = [b"x" * (30 + thread)] * 2
            assert (session.run("scale", {"images": images})["total"] == 9 * thread).all()
            assert session.run("text", {"text": text})["length"].tolist() == [30 + thread] * 2
            with pytest.raises(CppSessionError, match="no rows"):
                session.run("checked", {"images": images[:0]})
        return thread

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert list(pool.map(run, range(8))) == list(range(8))


def resident_bytes():
    pages = pathlib.Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def test_memory_stays_flat_over_many_runs(session, unchecked):
    text = [b"x" * 100_000] * 2  # A leak of one of them, in or out, would be 100 MB and more.
    images = np.zeros((10_000, 2, 3, 3), np.uint8)

    def runs(count):
        for _ in range(count):
            session.run("text", {"text": text})
            session.run("scale", {"images": images}, ["same"])
            with pytest.raises(CppSessionError, match="must be int64; got string"):
                unchecked.run("every", {**EVERY, "string": text, "int64": text})

    runs(50)
    before = resident_bytes()
    runs(1_000)
    assert resident_bytes() - before < 50e6


def test_sessions_are_freed(path):
    def load_and_close(count):
        for _ in range(count):
            with CppSession(path, threads=1) as session:
                session.run("scale", {"images": IMAGES})
            with pytest.raises(CppSessionError, match="Could not find SavedModel"):
                CppSession(path / "variables")
        gc.collect()  # A graph in Python refers to itself.

    load_and_close(5)
    before, threads = resident_bytes(), number_of_threads()
    load_and_close(20)
    assert resident_bytes() - before < 50e6
    assert number_of_threads() <= threads


def number_of_threads():
    return len(os.listdir("/proc/self/task"))


def test_closing_waits_for_runs_and_refuses_more(path):
    session = CppSession(path)
    images = np.ones((200_000, 2, 3, 3), np.uint8)
    results = []

    def run():
        while True:
            try:
                results.append(session.run("scale", {"images": images})["total"][-1])
            except CppSessionError as error:
                results.append(error)
                return

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    while not results and all(thread.is_alive() for thread in threads):
        time.sleep(0.001)
    session.close()
    session.close()
    for thread in threads:
        thread.join()
    refused = [result for result in results if isinstance(result, CppSessionError)]
    assert len(refused) == 4 and {error.code for error in refused} == {9}
    assert str(refused[0]) == "The session must be open; it is closed."
    assert {float(result) for result in results if result not in refused} == {9.0}


@pytest.mark.parametrize(
    "options",
    [{"threads": 1}, {"config": GRAPPLER_OFF.SerializeToString()}, {"threads": 3, "config": b""}],
)
def test_options_leave_the_values(path, options):
    with CppSession(str(path), **options) as session:
        assert session.run("scale", {"images": IMAGES})["total"] == 0.5 * IMAGES.sum()


def test_options_that_are_none_are_refused(path):
    with pytest.raises(
        CppSessionError, match="Error parsing message with type .tensorflow.ConfigProto"
    ) as refused:
        CppSession(path, config=b"\xff")
    assert refused.value.code == 3
    with pytest.raises(ValueError, match="`threads` must be at least 0; got -1"):
        CppSession(path, threads=-1)


def test_a_folder_that_is_no_saved_model_is_refused(tmp_path):
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(CppSessionError, match=f"Loading {path}: Could not find") as refused:
            CppSession(path)
        assert refused.value.code == 5


@pytest.mark.parametrize(
    ("file", "size"),
    [("saved_model.pb", 0.5), ("saved_model.pb", 0), ("variables/variables.index", 0.5)],
)
def test_a_torn_saved_model_is_refused(tmp_path, file, size):
    path = plain_saved_models.save(tmp_path / "1", "scale")
    os.truncate(path / file, int(size * (path / file).stat().st_size))
    with pytest.raises(CppSessionError, match=f"Loading {path}: "):
        CppSession(path)
