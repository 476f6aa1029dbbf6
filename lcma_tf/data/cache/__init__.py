"""Decoded images on the disk, so that a set is decoded once and need not fit into memory.

A source fills arrays by name, in order (`filling.Filling`); a store (`store.Store`) decides where they
are: in memory, or in memory-mapped files that later runs and other processes share.
"""

from lcma_tf.data.cache.filling import Filling
from lcma_tf.data.cache.store import MEMORY, DiskStore, MemoryStore, Store, Stored, open_store

__all__ = ["MEMORY", "DiskStore", "Filling", "MemoryStore", "Store", "Stored", "open_store"]
