"""What a published version is held to, in this process and in a clean one."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

import plain_saved_models
from lcma_tf.serving.runtime import clean_process, clean_run
from lcma_tf.serving.runtime import verify as verify_module
from lcma_tf.serving.runtime.comparison import check_equal
from lcma_tf.serving.runtime.messages import PredictionLog
from lcma_tf.serving.runtime.meta_graph import read_meta_graph, read_signatures
from lcma_tf.serving.runtime.verify import Report, VerificationError, verify
from lcma_tf.serving.runtime.warmup import WARMUP_FILE, write_warmup
from plain_saved_models import IMAGES, REQUESTS
from record_files import read_records, write_records

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("scale", "level", "checked", "logarithm")
EXPECTED = {
    "scale/scaled": 0.5 * IMAGES.astype(np.float32),
    "scale/total": np.array([0.5 * IMAGES.sum()], np.float32),
    "scale/same": IMAGES,
    "level/images": IMAGES // 2,
    "checked/total": np.array([IMAGES.sum()], np.int32),
    "logarithm/logarithm": np.zeros((1, 1), np.float32),
}


@pytest.fixture(scope="module")
def version(tmp_path_factory):
    return plain_saved_models.save(tmp_path_factory.mktemp("plain") / "1", *NAMES)


@pytest.fixture(autouse=True)
def requests(version):
    write_warmup(version, {name: REQUESTS[name] for name in NAMES})


def test_no_workers_are_refused(version):
    with pytest.raises(ValueError, match="`workers` must be at least 1; got 0"):
        verify_here(version, workers=0)


def verify_here(version, expected=None, **settings):
    """In this process: another one costs a second each time."""
    return verify(version, expected, run_all=clean_run.run_all, **settings)


def refused(version, message, expected=EXPECTED):
    with pytest.raises(VerificationError, match=message):
        verify_here(version, expected)


def add_record(version, signature, **inputs):
    """Appends a record, made as `write_warmup` makes it, to those that are there."""
    path = version / WARMUP_FILE
    records = read_records(path)
    write_warmup(version, {signature: inputs})
    write_records(path, records + read_records(path))


@pytest.mark.parametrize("workers", [1, 3])
def test_a_clean_process_finds_the_same(version, workers):
    report = verify(version, EXPECTED, workers=workers)
    assert report.compared and report.load_seconds > 0
    assert list(report.first_run_seconds) == sorted(NAMES)
    assert min(report.first_run_seconds.values()) > 0


def test_a_clean_process_tells_what_is_wrong(version, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # It needs no folder of its own to be found.
    (tmp_path / "json.py").write_text("raise SystemExit('imported from the current folder')")
    wrong = {**EXPECTED, "checked/total": EXPECTED["checked/total"] + 1}
    with pytest.raises(VerificationError) as caught:
        verify(version, wrong)
    assert str(caught.value) == (
        "checked/total must equal what the model says, exactly; 1 of 1 differ, the first at [0]: "
        "153 instead of 154."
    )


def test_a_process_that_ends_otherwise_or_never_is_an_error(version, monkeypatch):
    monkeypatch.setenv("PYTHONHOME", "/nowhere")
    with pytest.raises(VerificationError, match="ended with code 1; it last said: "):
        verify(version, EXPECTED)
    monkeypatch.delenv("PYTHONHOME")
    with pytest.raises(VerificationError, match="must be verified within 0.01 s; it was not"):
        clean_process.in_clean_process(version, [], 0, 1, timeout_seconds=0.01)


def run(*arguments):
    command = [sys.executable, "-m", "export.verify", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env={**os.environ})


def test_the_command_prints_a_line_for_each_signature(version, tmp_path):
    np.savez(tmp_path / "expected.npz", **EXPECTED)
    report = tmp_path / "report.json"
    done = run(version, "--expected", tmp_path / "expected.npz", "--report", report)
    assert done.returncode == 0, done.stderr
    first, *lines = done.stdout.splitlines()
    assert re.fullmatch(r"loaded in \d+\.\d\d s, \d+ MiB resident", first)
    assert [line.split(":")[0] for line in lines] == sorted(NAMES)
    for line in lines:
        assert ": first run " in line and line.endswith(" s, as expected")
    assert str(Report(**json.loads(report.read_text()))) == "\n".join([first, *lines])


def main(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["verify", *map(str, arguments)])
    verify_module.main()


def test_without_expectations_it_says_so(version, monkeypatch, capsys):
    main(monkeypatch, version)
    assert capsys.readouterr().out.count(" s, finite, compared with nothing\n") == len(NAMES)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: None, "`--expected` must be an .npz file; got"),
        (lambda path: path.write_bytes(b"PK\3\4 and no more"), "`--expected` must be an .npz file"),
        (lambda path: np.savez(path, a=np.array([None])), "error: Object arrays cannot be loaded"),
    ],
)
def test_expectations_that_cannot_be_read_end_in_a_sentence(
    version, monkeypatch, tmp_path, write, message
):
    write(tmp_path / "e.npz")
    with pytest.raises(SystemExit, match=message) as ended:
        main(monkeypatch, version, "--expected", tmp_path / "e.npz")
    assert str(ended.value).startswith("error: ") and "\n" not in str(ended.value)


def test_an_import_of_the_makers_packages_is_an_error(version, tmp_path):
    job = tmp_path / "job"
    clean_run.write_job(job, version, [], 0, 1)
    with pytest.raises(SystemExit, match="error: Running must not import .*tensorflow.*; it did."):
        clean_run.main([job, tmp_path / "arrays", tmp_path / "report"])


def test_what_a_process_says_goes_and_comes_whole(version, tmp_path, monkeypatch):
    monkeypatch.setattr(clean_run, "_FOREIGN", ())
    scale = read_signatures(read_meta_graph(version))["scale"]
    feeds = {scale.inputs["images"].name: tf.make_tensor_proto(IMAGES).SerializeToString()}
    runs = [
        clean_run.Run("a run", feeds, [scale.outputs[name].name for name in names])
        for names in (["total"], ["same", "scaled"])
    ]
    files = [tmp_path / name for name in ("job", "arrays.npz", "report")]
    clean_run.write_job(files[0], version, runs, 1, 2)
    clean_run.main(files)
    answers = clean_run.read_answers(*files[1:])
    assert answers.load_seconds > 0 and len(answers.seconds) == 2
    (total,), (same, scaled) = answers.arrays
    np.testing.assert_array_equal(total, EXPECTED["scale/total"], strict=True)
    np.testing.assert_array_equal(same, IMAGES, strict=True)
    np.testing.assert_array_equal(scaled, EXPECTED["scale/scaled"], strict=True)


@pytest.mark.parametrize(
    ("key", "change", "message"),
    [
        (
            "scale/total",
            lambda array: array * (1 + 3e-5),
            "within 1e-05 relative and 0 absolute; 1 of",
        ),
        (
            "scale/scaled",
            lambda array: array + 2e-4,
            "relative and 0.0001 absolute; .* at .0, 0, 0, 0",
        ),
        ("scale/scaled", lambda array: array * np.nan, "instead of nan"),
        ("scale/total", lambda array: array[0], r"be float32 \[\]; got float32 \[1\]"),
        ("checked/total", lambda array: array.astype(np.int64), "be int64 .1.; got int32 .1."),
        (
            "level/images",
            lambda array: array + np.uint8(1),
            "within 1 level in 1% of pixels; 18 of",
        ),
    ],
)
def test_another_value_shape_or_dtype_is_refused(version, key, change, message):
    refused(version, f"{key} must .*{message}", {**EXPECTED, key: change(EXPECTED[key])})


def test_rounding_is_no_difference(version):
    near = dict(EXPECTED)
    near["scale/total"] = EXPECTED["scale/total"] * np.float32(1 + 5e-6)
    near["scale/scaled"] = EXPECTED["scale/scaled"].astype(np.float64) + 5e-5
    verify_here(version, near)


@pytest.mark.parametrize(
    ("pixels", "levels", "equal"), [(2, 1, True), (3, 1, False), (1, 2, False), (1, -1, True)]
)
def test_a_few_pixels_may_be_rounded_the_other_way(pixels, levels, equal):
    expected = np.full((2, 10, 10, 1), 200, np.uint8)
    actual = expected.copy()
    actual.flat[:pixels] = 200 + levels
    if equal:
        check_equal("sample/images", actual, expected)
    else:
        with pytest.raises(VerificationError, match=f"{pixels} of 200 differ"):
            check_equal("sample/images", actual, expected)


def test_a_pixel_from_black_to_white_is_no_rounding():
    black, white = np.zeros((1, 200), np.uint8), np.zeros((1, 200), np.uint8)
    white[0, 7] = 255
    with pytest.raises(VerificationError, match=r"first at \[0, 7\]: 255 instead of 0"):
        check_equal("sample/images", white, black)


def test_every_signature_and_output_must_be_there(version):
    left = {key: array for key, array in EXPECTED.items() if key != "scale/same"}
    refused(version, "`expected` must have every output; scale/same is missing", left)
    more = {**EXPECTED, "encode/latents": IMAGES, "scale/sum": IMAGES}
    refused(version, "The model must have encode/latents, scale/sum; it has not", more)


@pytest.mark.parametrize("expected", [None, EXPECTED])
def test_what_is_not_finite_is_refused(version, expected):
    zero = {"values": np.zeros((2, 1), np.float32), "shift": np.float32(0)}
    add_record(version, "logarithm", **zero)  # Not the first, that is compared.
    refused(version, "logarithm/logarithm must be finite; 2 of 2 numbers are not", expected)
    write_warmup(version, {name: REQUESTS[name] for name in NAMES} | {"logarithm": zero})
    refused(version, "logarithm/logarithm must be finite; 2 of 2 numbers are not", expected)


def test_every_signature_needs_a_warmup_record(version):
    write_warmup(version, {name: REQUESTS[name] for name in NAMES if name != "level"})
    refused(version, "Signature level must have a warm-up record; it has none")


@pytest.mark.parametrize(
    ("signature", "inputs", "message"),
    [
        ("none", {}, "its signature must be one of"),
        ("scale", {"image": IMAGES}, "`inputs` of scale must be images; got image"),
        ("scale", {"images": IMAGES[0]}, "Running: Invalid reduction"),
        ("checked", {"images": IMAGES[0]}, "Running: .* not compatible"),
    ],
)
def test_a_warmup_record_that_does_not_run_is_refused(version, signature, inputs, message):
    add_record(version, signature, **inputs)
    refused(version, f"Warm-up record 4 must run: .*{message}")


def test_a_filter_of_a_warmup_record_is_run(version):
    log = PredictionLog.FromString(read_records(version / WARMUP_FILE)[0])
    for name, message in (("total", None), ("sum", "Warm-up record 0 must run: `outputs`")):
        log.predict_log.request.output_filter[:] = [name]
        records = [log.SerializeToString(), *read_records(version / WARMUP_FILE)[1:]]
        write_records(version / WARMUP_FILE, records)
        if message:
            refused(version, message)
        else:
            verify_here(version, EXPECTED)


def test_a_broken_warmup_file_is_refused(version):
    path = version / WARMUP_FILE
    path.write_bytes(path.read_bytes()[:-1])
    refused(version, "The warm-up file must be one of whole records; record 3 of .* is cut short")
    path.unlink()
    refused(version, "The warm-up file must exist; there is no")


def test_what_does_not_load_is_refused(tmp_path):
    refused(tmp_path, "Could not find SavedModel")
    with pytest.raises(VerificationError, match="Could not find SavedModel"):
        verify(tmp_path, EXPECTED)
