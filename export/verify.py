"""`python -m export.verify VERSION_DIR`: does what was published do what the model does?"""

from lcma_tf.serving.runtime.verify import Report, VerificationError, main, verify

__all__ = ["Report", "VerificationError", "verify"]

if __name__ == "__main__":
    main()
