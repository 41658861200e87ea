"""What provisioning on demand did with one object."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from shared.models.base import WireModel
from shared.models.parts import PartName, Properties
from shared.models.synchronization import SynchronizationError


class Step(StrEnum):
    """The steps of provisioning one object, in their order (graph.md §2.2)."""

    IMPORT = "Import"
    SCOPING = "Scoping"
    MATCHING = "Matching"
    EXPORT = "Export"


class Action(StrEnum):
    """What was done to the object's row."""

    CREATE = "Create"
    UPDATE = "Update"
    DELETE = "Delete"
    NONE = "Other"


@dataclass(frozen=True, slots=True)
class PartProvisioned:
    """What became of the object in one part.

    Attributes:
        object_id: The object's key in the cache, once Graph has told it.
        action: What was done.
        before, after: The properties that people see, before and after; None where there is no such object.
        links_written: How many links were added or ended.
        failed_at: The step that failed or ended it; None when all went through.
        error: Why, if it failed.
    """

    part: PartName
    object_id: str
    action: Action = Action.NONE
    before: Properties | None = None
    after: Properties | None = None
    links_written: int = 0
    failed_at: Step | None = None
    error: SynchronizationError | None = None


@dataclass(frozen=True, slots=True)
class Provisioned:
    """What became of the object in all parts that it belongs to."""

    parts: tuple[PartProvisioned, ...]
    started: datetime
    ended: datetime


class ProvisioningResult(WireModel):
    """stringKeyStringValuePair: the outcome, and the account of every step, each as a JSON text (graph.md §2.2)."""

    key: str
    value: str
