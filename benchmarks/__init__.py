"""How fast lcma_tf is beside its peers: `python -m benchmarks.run`. See benchmarks/README.md."""
