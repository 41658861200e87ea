"""Synchronization: when runs start, what a slice does, and what a run's end means."""
