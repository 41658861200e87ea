"""What provisioning on demand did, in the two JSON texts in which Graph answers it (graph.md §2.2)."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import orjson

from shared.models.base import wire_time
from shared.models.organizations import Organization
from shared.models.parts import CATALOGUE
from shared.models.provisioning import Action, PartProvisioned, Provisioned, ProvisioningResult, Step
from shared.models.schema import SOURCE_DIRECTORY, TARGET_DIRECTORY, object_name

_DONE = {
    Step.IMPORT: "The object was read from Microsoft Graph.",
    Step.SCOPING: "The object belongs to the part.",
    Step.MATCHING: "The object's entry in the organization cache was looked up by its id.",
    Step.EXPORT: "The organization cache holds the object as Microsoft Graph returned it.",
}
_LEFT_OUT = {
    Step.IMPORT: "The part is switched off; nothing was read.",
    Step.SCOPING: "The object does not belong to the part; nothing was written.",
}
_NOT_REACHED = "The step was not reached."


def provisioning_result(organization: Organization, done: Provisioned) -> ProvisioningResult:
    """The outcome, and the account of every step."""
    error = next((part.error for part in done.parts if part.error is not None), None)
    outcome = "Skipped" if all(part.failed_at is not None for part in done.parts) else "Success"
    if error is not None:
        outcome = "Failure"
    details = {"errorCode": error.code, "errorMessage": error.message} if error is not None else {}
    first = done.parts[0]
    account: dict[str, Any] = {
        "id": str(uuid4()),
        "changeId": str(uuid4()),
        "tenantId": organization.tenant_id,
        "jobId": organization.entity.job_id,
        "action": _action(done),
        "startTime": wire_time(done.started),
        "endTime": wire_time(done.ended),
        "sourceSystem": {"displayName": SOURCE_DIRECTORY},
        "targetSystem": {"displayName": TARGET_DIRECTORY},
        "sourceIdentity": _identity(first),
        "targetIdentity": _identity(first),
        "statusInfo": {"status": outcome.lower(), **details},
        "provisioningSteps": [step for part in done.parts for step in _steps(part)],
        "modifiedProperties": [change for part in done.parts for change in _changes(part)],
    }
    key = {"result": outcome, "details": details}
    return ProvisioningResult(key=orjson.dumps(key).decode(), value=orjson.dumps(account).decode())


def _action(done: Provisioned) -> Action:
    return next((part.action for part in done.parts if part.action is not Action.NONE), Action.NONE)


def _identity(part: PartProvisioned) -> dict[str, Any]:
    known = part.after or part.before or {}
    return {
        "id": part.object_id,
        "displayName": known.get("displayName"),
        "identityType": object_name(CATALOGUE[part.part]),
    }


def _steps(part: PartProvisioned) -> list[dict[str, Any]]:
    steps: list[dict[str, Any]] = []
    ended = False
    for step in Step:
        status, description = "success", _DONE[step]
        if ended:
            status, description = "skipped", _NOT_REACHED
        elif step is part.failed_at:
            ended = True
            told = (part.error and part.error.message) or _LEFT_OUT.get(step, "")
            status, description = "skipped" if part.error is None else "failure", told
        steps.append(
            {
                "name": f"{step}: {part.part}",
                "provisioningStepType": step.value.lower(),
                "status": status,
                "description": description,
                "details": {"part": part.part, "linksWritten": part.links_written} if step is Step.EXPORT else {},
            }
        )
    return steps


def _changes(part: PartProvisioned) -> list[dict[str, Any]]:
    before, after = part.before or {}, part.after or {}
    return [
        {"displayName": name, "oldValue": before.get(name), "newValue": after.get(name)}
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    ]
