"""`lcma-score-beam`, or `python -m lcma_tf.score_beam`: what `lcma_tf.score` does, on many machines.

    python -m lcma_tf.score_beam --workdir=RUN --input="FOLDER/**" --output=scores.parquet \\
        --beam_flags="--runner=FlinkRunner --flink_master=HOST:8081"

A pipeline of Apache Beam, run by the runner that `--beam_flags` name; without them on this machine. The
exit code is 3 if some images were not scored.
"""

import shlex

from lcma_tf import cli
from lcma_tf.cli import run_flags as flag_config
from lcma_tf.extras import require_extra


def main() -> None:
    flags = flag_config.FLAGS
    rate, batch_size = flag_config.false_alarm_rate(), flag_config.batch_size()
    require_extra("apache_beam", "beam", "score on many machines", package="apache-beam")
    from lcma_tf.batch.beam import BeamJob

    found = BeamJob(
        flags.workdir,
        flags.input,
        flags.output,
        options=shlex.split(flags.beam_flags),
        false_alarm_rate=rate,
        batch_invariant=flags.batch_invariant,
        batch_size=batch_size,
        resize=flags.resize,
    ).run()
    if found.failed is None:
        print("how many images were scored, the runner does not say")
        return
    print(f"{found.scored} images scored, {found.failed} not")
    cli.exit_if_failed("some images", found.failed)


def command() -> None:
    """What the script `lcma-score-beam` runs."""
    flag_config.define_beam_flags()
    cli.run(main)


if __name__ == "__main__":
    command()
