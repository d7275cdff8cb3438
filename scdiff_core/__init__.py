"""The engine of scDiff Studio. Importing this package imports nothing else."""

__version__ = "0.1.0"
