"""`python -m export.score`: scores a folder of images, or draws samples, by a model server."""

import sys

from lcma_tf.serving.client.score import FileScore, main, score_files

__all__ = ["FileScore", "main", "score_files"]

if __name__ == "__main__":
    sys.exit(main())
