"""What a run may be told before its images are read; refusals in full are in bad_input_test.py."""

import pytest

import commands
import lcma_tf
from lcma_tf.config import ConfigError
from lcma_tf.experiment.check_run import check_before_data
from lcma_tf.experiment.workdir import Workdir


def test_of_a_new_run_alone_an_exit_prior_must_have_an_effect(tmp_path):
    flow = lcma_tf.FlowConfig(commands.SHAPE, num_scales=2, exit_prior="conditional")
    config = lcma_tf.TrainConfig(split_rule="none")
    workdir = Workdir(tmp_path / "workdir")
    with pytest.raises(ConfigError, match="`exit_prior` must be 'standard' where nothing exits"):
        check_before_data(flow, config, workdir)
    assert not workdir.path.exists()
    workdir.claim(flow, config)  # As earlier versions let it begin.
    check_before_data(flow, config, workdir)
