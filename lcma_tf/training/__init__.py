"""A phase of training: `fit` with its callbacks, backups and checks, and what is measured with it."""
