"""A hook of schemathesis: of the names that it makes up for paths, half become names of what is there.

Loaded by its command line (``SCHEMATHESIS_HOOKS``); what is there comes in the environment, as JSON.
"""

from __future__ import annotations

import os
from typing import Any
from zlib import crc32

import orjson
import schemathesis

KNOWN: dict[str, str] = orjson.loads(os.environ.get("KNOWN_NAMES", "{}"))


@schemathesis.hook
def map_path_parameters(context: Any, path_parameters: dict[str, Any]) -> dict[str, Any]:
    """The same again for the same made-up names, so that a failure is found again; what is there is not deleted."""
    if not path_parameters or context.operation.method.upper() == "DELETE":
        return path_parameters
    if crc32(repr(sorted(path_parameters.items())).encode()) % 2:
        return path_parameters
    owner = str(path_parameters.get("owner", "organization"))
    known = {**KNOWN, "id": KNOWN.get(owner)}
    return {name: known.get(name) or value for name, value in path_parameters.items()}
