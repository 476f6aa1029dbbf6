"""`lcma-score-beam`, or `python -m lcma_tf.score_beam`: what `lcma_tf.score` does, on many machines.

    python -m lcma_tf.score_beam --workdir=RUN --input="FOLDER/**" --output=scores.parquet \\
        --beam_flags="--runner=FlinkRunner --flink_master=HOST:8081"

A pipeline of Apache Beam, run by the runner that `--beam_flags` name; without them on this machine. The
exit code is 3 if some images were not scored.
"""

import shlex
import sys

from lcma_tf import cli
from lcma_tf.cli import run_flags as flag_config
from lcma_tf.extras import require_extra

_SOME_FAILED = 3


def main() -> None:
    flags = flag_config.FLAGS
    rate = flags.false_alarm_rate
    cli.require(rate is None or 0 < rate < 0.5, "false_alarm_rate", "between 0 and 0.5", rate)
    cli.require(flags.batch_size >= 1, "batch_size", "at least 1", flags.batch_size)
    require_extra("apache_beam", "beam", "score on many machines", package="apache-beam")
    from lcma_tf.batch.beam import BeamJob

    found = BeamJob(
        flags.workdir,
        flags.input,
        flags.output,
        options=shlex.split(flags.beam_flags),
        false_alarm_rate=rate,
        batch_invariant=flags.batch_invariant,
        batch_size=flags.batch_size,
        resize=flags.resize,
    ).run()
    if found.failed is None:
        print("how many images were scored, the runner does not say")
        return
    print(f"{found.scored} images scored, {found.failed} not")
    if found.failed:
        print("error: some images have no score; the column error says why", file=sys.stderr)
        sys.exit(_SOME_FAILED)


def command() -> None:
    """What the script `lcma-score-beam` runs."""
    flag_config.define_beam_flags()
    cli.run(main)


if __name__ == "__main__":
    command()
