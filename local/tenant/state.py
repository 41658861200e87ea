"""All that one running tenant holds: the directory, its options, faults, counters and keys."""

from __future__ import annotations

import re
from collections import Counter, OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field

from local.tenant.changes import ChangedObject
from local.tenant.deliveries import Deliveries
from local.tenant.directory import Directory
from local.tenant.faults import Faults
from local.tenant.issuer import TokenIssuer
from local.tenant.options import Options
from local.tenant.subscriptions import Subscriptions
from local.tenant.tokens import Signer

_GUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)
_PLANS = 8


@dataclass
class RequestCounters:
    """How often each path was asked for, ids left out, and with which priority; whether any page was read twice."""

    paths: Counter[str] = field(default_factory=Counter)
    priorities: Counter[str] = field(default_factory=Counter)
    pages: int = 0
    repeated_pages: int = 0
    _seen: set[int] = field(default_factory=set)

    def count(self, path: str, headers: Mapping[str, str]) -> None:
        self.paths[_GUID.sub("{id}", path).replace("()", "")] += 1
        if (priority := headers.get("x-ms-throttle-priority")) is not None:
            self.priorities[priority.lower()] += 1

    def count_page(self, url: str) -> None:
        self.pages += 1
        fingerprint = hash(url)
        self.repeated_pages += fingerprint in self._seen
        self._seen.add(fingerprint)


class Tenant:
    """One simulated tenant."""

    def __init__(self, directory: Directory, identity_header: str, options: Options) -> None:
        self.directory = directory
        self.identity_header = identity_header
        self.options = options
        self.issuer = TokenIssuer()
        self.faults = Faults(directory.seed)
        self.requests = RequestCounters()
        self.signer = Signer(directory.seed)
        self.subscriptions = Subscriptions()
        self.deliveries = Deliveries(options)
        # Raised to make every token of a resource stale.
        self.generations = {"users": 0, "groups": 0, "sites": 0}
        self._plans: OrderedDict[tuple[object, ...], list[ChangedObject]] = OrderedDict()

    def plan(self, key: tuple[object, ...]) -> list[ChangedObject] | None:
        found = self._plans.get(key)
        if found is not None:
            self._plans.move_to_end(key)
        return found

    def keep_plan(self, key: tuple[object, ...], plan: list[ChangedObject]) -> None:
        self._plans[key] = plan
        if len(self._plans) > _PLANS:
            self._plans.popitem(last=False)
