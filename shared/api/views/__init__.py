"""The views of the one record: pure functions from a SynchronizationRecord to what a client reads."""
