"""The organization cache database; nothing outside this room knows its tables."""
