"""The files of `export/serving/` can be read by the server, are safe for a flow, and agree."""

from __future__ import annotations

import http.server
import importlib.util
import json
import pathlib
import re
import shlex
import subprocess
import threading

import pytest
import tensorflow as tf
import yaml
from google.protobuf import text_format

import serving_protos
from lcma_tf.serving.client.checks import MAX_BATCH_SIZE

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "export" / "serving"
GRPC_PORT, REST_PORT = 8500, 8501  # The entry point of the image sets them.

# The options of `tensorflow_model_server` (model_servers/main.cc). It ignores what it does not know, so
# a slip of the pen would pass for a setting.
SERVER_FLAGS = re.findall(
    r"\w+",
    """
    port grpc_socket_path rest_api_port rest_api_num_threads rest_api_timeout_in_ms
    rest_api_enable_cors_support enable_batching allow_version_labels_for_unavailable_models
    batching_parameters_file enable_per_model_batching_parameters model_config_file
    model_config_file_poll_wait_seconds model_name model_base_path num_load_threads num_unload_threads
    max_num_load_retries load_retry_interval_micros file_system_poll_wait_seconds flush_filesystem_caches
    tensorflow_session_parallelism tensorflow_session_config_file tensorflow_intra_op_parallelism
    tensorflow_inter_op_parallelism use_alts_credentials ssl_config_file platform_config_file
    per_process_gpu_memory_fraction saved_model_tags grpc_channel_arguments grpc_max_threads
    enable_model_warmup num_request_iterations_for_warmup version monitoring_config_file
    remove_unused_fields_from_bundle_metagraph prefer_tflite_model num_tflite_pools
    num_tflite_interpreters_per_pool enable_signature_method_name_check xla_cpu_compilation_enabled
    xla_gpu_compilation_enabled enable_profiler thread_pool_factory_config_file mixed_precision
    skip_initialize_tpu enable_grpc_healthcheck_service enable_serialization_as_tensor_content
    """,
)


def text(name: str) -> str:
    return (FOLDER / name).read_text()


@pytest.fixture(scope="module")
def models():
    return serving_protos.parse(text("models.config"), "ModelServerConfig")


@pytest.fixture(scope="module")
def batching():
    return serving_protos.parse(text("batching_parameters.txt"), "BatchingParameters")


@pytest.fixture(scope="module")
def service():
    (service,) = yaml.safe_load(text("docker-compose.yml"))["services"].values()
    return service


@pytest.fixture(scope="module")
def docker_run():
    """(options of `docker run` by name, image, arguments of the server) of README.md."""
    (command,) = re.findall(r"```bash\n(docker run .*?)```", text("README.md"), flags=re.DOTALL)
    words = shlex.split(command.replace("\\\n", " "))[2:]
    options: dict[str, list[str]] = {}
    while words[0].startswith("--"):
        name = words.pop(0)
        value = "" if name in ("--detach", "--init") else words.pop(0)
        options.setdefault(name, []).append(value)
    return options, words[0], words[1:]


# The files alone.


def test_one_model_of_which_two_versions_are_loaded(models):
    (model,) = models.model_config_list.config
    assert (model.name, model.base_path) == ("flow", "/models/flow")
    assert model.model_platform == "tensorflow"
    assert model.model_version_policy.latest.num_versions == 2
    assert not model.version_labels


def test_the_alternatives_in_comments_parse_too():
    alternatives = re.findall(
        r"# (model_version_policy .*|version_labels .*)", text("models.config")
    )
    assert len(alternatives) == 3
    model = serving_protos.parse("\n".join(alternatives), "ModelConfig")
    assert list(model.model_version_policy.specific.versions) == [6]
    assert dict(model.version_labels) == {"stable": 6, "canary": 7}


def test_the_servers_own_message_reads_the_same(models):
    server_config = pytest.importorskip("tensorflow_serving.config.model_server_config_pb2")
    theirs = text_format.Parse(text("models.config"), server_config.ModelServerConfig())
    assert theirs.SerializeToString() == models.SerializeToString()


@pytest.mark.parametrize("message", ["ModelServerConfig", "ModelConfigList", "ModelConfig"])
def test_declared_by_hand_as_the_server_declares_it(message):
    module = pytest.importorskip("tensorflow_serving.config.model_server_config_pb2")
    theirs = getattr(module, message).DESCRIPTOR.fields_by_name
    for name, field in serving_protos.message_class(message).DESCRIPTOR.fields_by_name.items():
        assert (field.number, field.type) == (theirs[name].number, theirs[name].type), name


def test_batches_fit_the_graph(batching):
    assert (
        batching.max_batch_size.value == MAX_BATCH_SIZE
    )  # More: merged runs fail. Less: requests.
    assert not batching.enable_large_batch_splitting.value
    assert 0 < batching.batch_timeout_micros.value <= 10_000
    assert batching.max_enqueued_batches.value > 0


def test_batching_changes_no_image(batching):
    assert not batching.pad_variable_length_inputs  # Would score images of a wrong size, wrongly.
    assert not batching.allowed_batch_sizes


def test_prometheus_is_on():
    config = serving_protos.parse(text("monitoring.config"), "MonitoringConfig").prometheus_config
    assert config.enable
    assert f":{REST_PORT}{config.path}`" in text("README.md")


def test_grappler_is_off_and_nothing_else_is_set():
    config = text_format.Parse(text("session.config"), tf.compat.v1.ConfigProto())
    expected = tf.compat.v1.ConfigProto()
    expected.graph_options.rewrite_options.disable_meta_optimizer = True
    assert config == expected


@pytest.mark.parametrize(
    ("message", "wrong"),
    [
        ("BatchingParameters", "max_batch_size: 64"),  # A wrapper: { value: 64 }.
        ("BatchingParameters", "max_batchsize { value: 64 }"),
        ("ModelServerConfig", "config { name: 'flow' }"),
        ("ModelConfig", "model_version_policy { latest { num_versions: 2 } all {} }"),
        ("MonitoringConfig", "enable: true"),
    ],
)
def test_what_the_server_would_not_read_is_not_read_here(message, wrong):
    with pytest.raises(text_format.ParseError):
        serving_protos.parse(wrong, message)


# Compose, the command of README.md and the files agree.


def flags(arguments: list[str]) -> dict[str, str]:
    found = dict(argument.removeprefix("--").split("=", 1) for argument in arguments)
    assert len(found) == len(arguments)
    return found


def test_the_readme_runs_what_compose_runs(service, docker_run):
    options, image, arguments = docker_run
    assert (image, arguments) == (service["image"], service["command"])
    assert options["--cpus"] == [str(service["cpus"])]
    assert options["--memory"] == [service["mem_limit"]]
    assert options["--restart"] == [service["restart"]] == ["unless-stopped"]
    assert ("--init" in options) is service["init"]
    assert options["--publish"] == service["ports"]
    assert options["--log-driver"] == [service["logging"]["driver"]]
    log_options = [f"{name}={value}" for name, value in service["logging"]["options"].items()]
    assert options["--log-opt"] == log_options


def test_the_readme_checks_health_as_compose_does(service, docker_run):
    options, _, _ = docker_run
    health = service["healthcheck"]
    assert health["test"][0] == "CMD"
    assert options["--health-cmd"] == [shlex.join(health["test"][1:])]
    for name in ("interval", "timeout", "retries", "start_period"):
        assert options[f"--health-{name.replace('_', '-')}"] == [str(health[name])]


def test_both_mount_the_same_folders_for_reading_only(service, docker_run):
    mounted = {volume.split(":", 1)[1] for volume in docker_run[0]["--volume"]}
    assert mounted == {"/models/flow:ro", "/config:ro"}
    # In Compose's, the variable has a message with spaces.
    assert {volume[volume.rindex(":/") + 1 :] for volume in service["volumes"]} == mounted


def test_the_server_knows_every_flag(docker_run):
    given = flags(docker_run[2])
    assert not set(given) - set(SERVER_FLAGS)


def test_every_file_that_is_named_is_there(docker_run):
    given = flags(docker_run[2])
    named = [value for name, value in given.items() if name.endswith("_file")]
    assert len(named) == 4
    for path in named:
        folder, name = path.rsplit("/", 1)
        assert folder == "/config" and (FOLDER / name).is_file(), path


def test_threads_are_those_of_the_container(docker_run, batching):
    options, _, arguments = docker_run
    (cpus,), given = options["--cpus"], flags(arguments)
    assert given["tensorflow_intra_op_parallelism"] == cpus
    assert given["tensorflow_inter_op_parallelism"] == cpus
    assert batching.num_batch_threads.value == 1  # Exports of earlier versions bear no more.
    # A batch of one-row calls can fill while another runs: each call holds a thread.
    assert int(given["grpc_max_threads"]) >= 2 * batching.max_batch_size.value
    assert int(given["rest_api_num_threads"]) >= 2 * batching.max_batch_size.value


def test_ports_and_paths(docker_run, models):
    options, _, _ = docker_run
    assert options["--publish"] == [f"127.0.0.1:{p}:{p}" for p in (GRPC_PORT, REST_PORT)]
    assert options["--health-cmd"][0].endswith(f" {REST_PORT}")
    (model,) = models.model_config_list.config
    assert f"GET /v1/models/{model.name} HTTP/1.1" in text("health_check.sh")
    assert options["--volume"][0].endswith(f":{model.base_path}:ro")


def test_the_image_is_pinned_and_not_older_than_our_tensorflow(docker_run):
    tag = re.fullmatch(r"tensorflow/serving:\$\{TF_SERVING_TAG:-(\d+)\.(\d+)\.\d+\}", docker_run[1])
    assert tag is not None, docker_run[1]
    ours = re.search(r"^tensorflow~=(\d+)\.(\d+)", requirements(), flags=re.MULTILINE)
    assert ours is not None
    assert [int(part) for part in tag.groups()] >= [int(part) for part in ours.groups()]


def requirements() -> str:
    return (FOLDER.parents[1] / "requirements.txt").read_text()


def test_every_file_is_in_the_readme_and_every_module_that_it_names_exists():
    readme = text("README.md")
    linked = set(re.findall(r"\]\(([\w.-]+)\)", readme))
    assert linked | {"README.md"} == {path.name for path in FOLDER.iterdir()}
    modules = set(re.findall(r"python -m ([\w.]+)", readme))
    assert modules
    for module in modules:
        assert importlib.util.find_spec(module) is not None, module


# The health check, run by bash against a server on this machine.


def health(command: list[str], port: int) -> int:
    """Runs the command of the health check here: another folder, another port."""
    here = [word.replace("/config", str(FOLDER)) for word in command]
    assert here[-1] == str(REST_PORT)
    return subprocess.run([*here[:-1], str(port)], capture_output=True, timeout=20).returncode


def version(number, state, code="OK"):
    status = {"error_code": code, "error_message": ""}
    return {"version": str(number), "state": state, "status": status}


@pytest.mark.parametrize(
    ("status", "body", "healthy"),
    [
        (200, {"model_version_status": [version(1, "AVAILABLE")]}, True),
        (200, {"model_version_status": [version(2, "LOADING"), version(1, "AVAILABLE")]}, True),
        (200, {"model_version_status": [version(1, "LOADING")]}, False),
        (200, {"model_version_status": [version(1, "END", "UNAVAILABLE")]}, False),
        (404, {"error": "Could not find any versions of model flow, none is AVAILABLE"}, False),
    ],
    ids=["available", "one_of_two", "loading", "broken", "unknown"],
)
def test_healthy_is_who_has_a_version_available(docker_run, status, body, healthy):
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            content = json.dumps(body, indent=1).encode()  # Indented, as the server prints it.
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *arguments):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            code = health(shlex.split(docker_run[0]["--health-cmd"][0]), server.server_port)
        finally:
            server.shutdown()
            thread.join()
    assert asked == ["/v1/models/flow"]
    assert (code == 0) is healthy


def test_unhealthy_is_who_does_not_listen(docker_run):
    with http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as server:
        port = server.server_port
    assert health(shlex.split(docker_run[0]["--health-cmd"][0]), port) != 0
