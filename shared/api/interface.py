"""What the triggers call of this room and no answer about state needs, in one place (``shared.triggers.rooms``)."""

from __future__ import annotations

from shared.api.job_changes import read_change, refuse_other_template
from shared.api.secrets import read_secrets
from shared.api.subjects import parts_to_provision
from shared.api.views.provisioning import provisioning_result
from shared.api.views.run import run_entity
from shared.api.views.schema import synchronization_schema, synchronization_template
from shared.models.escrows import EscrowEntity, HeldDeletionEntity
from shared.models.job_changes import CredentialsValidation, JobCreation, JobUpdate, ProvisionOnDemand, SecretsUpdate
from shared.models.provisioning import ProvisioningResult
from shared.models.restart import RestartRequest
from shared.models.run_entity import RunEntity, SynchronizationRequest
from shared.models.schema import SchemaUpdate, SynchronizationSchema, SynchronizationTemplate
from shared.models.selection import read_selection

__all__ = [
    "CredentialsValidation",
    "EscrowEntity",
    "HeldDeletionEntity",
    "JobCreation",
    "JobUpdate",
    "ProvisionOnDemand",
    "ProvisioningResult",
    "RestartRequest",
    "RunEntity",
    "SchemaUpdate",
    "SecretsUpdate",
    "SynchronizationRequest",
    "SynchronizationSchema",
    "SynchronizationTemplate",
    "parts_to_provision",
    "provisioning_result",
    "read_change",
    "read_secrets",
    "read_selection",
    "refuse_other_template",
    "run_entity",
    "synchronization_schema",
    "synchronization_template",
]
