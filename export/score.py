"""`python -m export.score`: scores a folder of images, or draws samples, by a model server."""

import sys

from lcma_tf.serving.client.file_scores import FileScore, score_files
from lcma_tf.serving.client.score import main

__all__ = ["FileScore", "main", "score_files"]

if __name__ == "__main__":
    sys.exit(main())
