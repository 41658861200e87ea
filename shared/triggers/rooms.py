"""The ways into what no request about state needs: each room is loaded by the first function that enters it.

The Functions host has every function declared in every process, whatever it is asked first. What these load would take
a tenth of a cold start.
"""

from __future__ import annotations

# Without types of what they return: that is a module, which type checkers know and annotations cannot name.


def sync():
    """The room that plans, synchronizes and changes jobs; what talks to Graph comes with its first use."""
    from shared.sync import interface

    return interface


def api():
    """What the API reads and shows beside states: changes, schemas, runs."""
    from shared.api import interface

    return interface
