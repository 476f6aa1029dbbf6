"""What every test may use, and what keeps a long test session small."""

import ctypes
import gc
import os
import pathlib
import shutil
import signal
import sys
import tempfile

import pytest

import commands
from lcma_tf.cli.convolutions import choose_convolutions

# The files that take longest, 12 to 100 seconds of a processor, most first. With them at the end one
# worker would have nothing to do while the other runs the last.
LONGEST = (
    "distribute/multi_worker_test.py",
    "distribute/replicas_test.py",
    "docs/python_blocks_test.py",
    "docs/notebooks_test.py",
    "model/jit_compile_test.py",
    "faults/batch_test.py",
    "faults/worker_dies_test.py",
    "study/ablation_test.py",
    "experiment/interruption_test.py",
    "experiment/earlier_files_test.py",
    "experiment/added_choices_test.py",
    "serving/export_saved_model_test.py",
    "faults/kill_anywhere_test.py",
    "networks/rematerialization_test.py",
    "flows/options_test.py",
    "experiment/going_on_test.py",
    "package_test.py",
    "model/bits_per_dim_test.py",
    "faults/determinism_test.py",
    "model/frozen_test.py",
    "faults/exactness_test.py",
    "faults/floatx_test.py",
    "experiment/one_run_test.py",
    "serving/export_signatures_test.py",
    "flows/one_pass_test.py",
    "flows/couplings_test.py",
    "experiment/method_test.py",
    "faults/model_inputs_test.py",
    "faults/non_finite_test.py",
    "experiment/pixel_kinds_test.py",
    "model/fit_test.py",
    "factorization/split_rules_test.py",
    "model/mixed_precision_test.py",
    "model/tfp_reuse_test.py",
    "batch/score_command_test.py",
    "model/saving_test.py",
    "bijectors/bijector_properties_test.py",
    "serving/export_glow_test.py",
    "model/sampling_test.py",
    "serving/export_fuzz_test.py",
    "serving/export_calibrated_test.py",
    "benchmarks/benchmarks_test.py",
    "experiment/experiment_test.py",
    "faults/hostile_requests_test.py",
    "plots/plots_test.py",
    "scores/score_commands_test.py",
    "scores/measures_test.py",
    "scores/calibrate_test.py",
    "scores/scored_flow_test.py",
)


CACHE = pytest.StashKey[str]()


def pytest_addoption(parser):
    parser.addoption(
        "--long_faults",
        action="store_true",
        help="Try each fault of tests/faults/ as often as docs/faults.md says: hours, not minutes.",
    )


def pytest_configure(config):
    # Importing and tracing make so many objects that live that the usual thresholds look at all of them
    # again and again.
    gc.set_threshold(10_000, 10, 10)
    # Commands keep decoded images in the user's cache; matplotlib's, with its fonts, stays where it is.
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    os.environ.setdefault("MPLCONFIGDIR", os.path.join(home, "matplotlib"))
    os.environ["XDG_CACHE_HOME"] = config.stash[CACHE] = tempfile.mkdtemp(prefix="lcma_tf_cache_")
    # As the commands that tests start do, so that both compute alike.
    choose_convolutions()
    # A shell that starts the tests in its background ignores Ctrl-C for them and what they start.
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # By itself xdist begins with the files of most tests, and the longest have few.
    config.option.loadscopereorder = False


def pytest_unconfigure(config):
    shutil.rmtree(config.stash[CACHE], ignore_errors=True)


def pytest_collection_modifyitems(items):
    tests = pathlib.Path(__file__).parent
    if missing := [name for name in LONGEST if not (tests / name).exists()]:
        raise pytest.UsageError(f"`LONGEST` must name files of {tests}; got {', '.join(missing)}")
    place = {tests / name: index for index, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path, len(LONGEST)))


@pytest.fixture(scope="session")
def at_length(request):
    """`at_length(short, long)`: how often a fault is tried, in a usual run and with `--long_faults`."""
    is_long = request.config.getoption("--long_faults")
    return lambda short, long: long if is_long else short


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """The one unbroken run that a session makes, a `commands.FinishedRun`; to be read only."""
    return commands.finished_run(tmp_path_factory)


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """The one export of that run, a `commands.Export`; to be read only."""
    return commands.finished_export(tmp_path_factory)


@pytest.fixture(scope="module")
def eager_and_deterministic():
    """For runs of a few steps, compared to the bit: to trace a function takes longer than to run it."""
    import tensorflow as tf
    from tensorflow.python.framework import config as tf_config

    tf.config.experimental.enable_op_determinism()
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)
    tf_config.disable_op_determinism()


@pytest.fixture(scope="session")
def imported():
    """Sets aside what was imported: half a million objects that no collection needs to look at."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module", autouse=True)
def nothing_left_of_the_modules_before(imported):
    """TensorFlow and its Probability keep what was traced: gigabytes at the end of a session."""
    if "tensorflow_probability" not in sys.modules:
        yield
        return
    from lcma_tf.training.leftovers import nothing_left_behind

    with nothing_left_behind():
        yield
    if sys.platform == "linux":  # glibc keeps what was freed.
        ctypes.CDLL(None).malloc_trim(0)


@pytest.fixture
def nothing_drawn(monkeypatch):
    """Runs in this process end without pictures: for those whose pictures nobody looks at."""
    # By its name: this file may not import it, as then every test would wait for TensorFlow.
    monkeypatch.setattr("lcma_tf.experiment.pictures.draw_run", lambda *_: None)
