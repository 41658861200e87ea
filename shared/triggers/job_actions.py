"""HTTP triggers: what can be done with a synchronizationJob beside reading and changing it (graph.md §2.2)."""
# azure.functions leaves its decorators partly untyped.
# pyright: strict, reportUnknownMemberType=false

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, cast

import azure.functions as func

from shared.api.messages import ODATA_JSON, json_answer, read_body
from shared.api.odata import query_options
from shared.api.operations import DONE, Answer, Body, Operation
from shared.api.routing import closed_segment, route, route_async
from shared.models.errors import ApiError, BadRequest, Conflict, ErrorDetail, GraphUnavailable, ServiceUnavailable
from shared.models.organizations import Organization
from shared.services import services
from shared.triggers.messages import CONNECTION, SLICES, Messages, send
from shared.triggers.paths import JOB, JOBS, find_organizations, read_organization, service_url
from shared.triggers.rooms import api, sync

if TYPE_CHECKING:
    from shared.models.job_changes import SecretPair
    from shared.sync.validation import Failures, GivenSecret

blueprint = func.Blueprint()

_RESTART = Body(lambda: api().RestartRequest)
_VALIDATION = Body(lambda: api().CredentialsValidation)
_SUBJECT = Body(lambda: api().ProvisionOnDemand)
_VALIDATE = Operation([DONE], body=_VALIDATION, options=())

_CLIENT_ID, _CLIENT_SECRET = "clientidentifier", "clientsecret"
_TOLD_AT_ONCE = 10


@blueprint.function_name("start_synchronization_job")
@blueprint.queue_output(arg_name="messages", queue_name=SLICES, connection=CONNECTION)
@route(blueprint, f"{JOB}/start", "POST", Operation([DONE], options=(), errors=(Conflict,)))
def start_synchronization_job(req: func.HttpRequest, messages: Messages) -> func.HttpResponse:
    """Sets the job going; a paused one goes on, a quarantine is lifted."""
    query_options(req, ())
    send(messages, sync().start_job(services(), read_organization(req).key))
    return func.HttpResponse(status_code=204)


@blueprint.function_name("pause_synchronization_job")
@route(blueprint, f"{JOB}/pause", "POST", Operation([DONE], options=()))
def pause_synchronization_job(req: func.HttpRequest) -> func.HttpResponse:
    """Stops the job for a while."""
    query_options(req, ())
    sync().pause(services(), read_organization(req).key)
    return func.HttpResponse(status_code=204)


@blueprint.function_name("restart_synchronization_job")
@blueprint.queue_output(arg_name="messages", queue_name=SLICES, connection=CONNECTION)
@route(blueprint, f"{JOB}/restart", "POST", Operation([DONE], body=_RESTART, options=(), errors=(Conflict,)))
def restart_synchronization_job(req: func.HttpRequest, messages: Messages) -> func.HttpResponse:
    """Begins anew, with the parts of the state that the criteria name thrown away."""
    app = services()
    query_options(req, ())
    key = read_organization(req).key
    asked = read_body(req, _RESTART, app.settings.request_body_bytes)
    # msgraph-sdk and Graph's other clients mark so what they send again (graph.md §2.7).
    sent_again = "retry-attempt" in cast(Mapping[str, str], req.headers)
    send(messages, sync().restart(app, key, asked.scope, sent_again=sent_again))
    return func.HttpResponse(status_code=204)


@blueprint.function_name("check_job_credentials")
@route_async(blueprint, f"{JOB}/validateCredentials", "POST", _VALIDATE)
async def check_job_credentials(req: func.HttpRequest) -> func.HttpResponse:
    """Asks for a token and reads one row of every part; 204 when all of it works."""
    query_options(req, ())
    organization = await asyncio.to_thread(read_organization, req)
    return await _validate(req, [organization])


@blueprint.function_name("check_credentials")
@route_async(blueprint, f"{JOBS}/validateCredentials", "POST", _VALIDATE)
async def check_credentials(req: func.HttpRequest) -> func.HttpResponse:
    """As for one job, for all organizations that are registered with the application."""
    query_options(req, ())

    def registered() -> Sequence[Organization]:
        with services().database.read() as connection:
            return find_organizations(req, connection)

    return await _validate(req, await asyncio.to_thread(registered))


@blueprint.function_name("provision_on_demand")
@route_async(
    blueprint,
    f"{JOB}/provisionOnDemand",
    "POST",
    Operation(
        [Answer(model=lambda: api().ProvisioningResult, annotated=True)],
        body=_SUBJECT,
        options=(),
        errors=(Conflict,),
    ),
)
async def provision_on_demand(req: func.HttpRequest) -> func.HttpResponse:
    """Reads one object fresh from Graph and writes it to the cache now; answers with the steps."""
    app = services()
    query_options(req, ())
    organization = await asyncio.to_thread(read_organization, req)
    asked = read_body(req, _SUBJECT, app.settings.request_body_bytes).parameters[0]
    names = api().parts_to_provision(asked)
    sync().refuse_to_run(organization)
    done = await sync().provision(app, organization, names, asked.subjects[0].object_id)
    version = closed_segment(req, "version")
    document = {
        "@odata.context": f"{service_url(req)}/{version}/$metadata#microsoft.graph.stringKeyStringValuePair",
        **api().provisioning_result(organization, done).wire(),
    }
    return json_answer(document, content_type=ODATA_JSON)


async def _validate(req: func.HttpRequest, organizations: Sequence[Organization]) -> func.HttpResponse:
    app = services()
    asked = read_body(req, _VALIDATION, app.settings.request_body_bytes)
    api().refuse_other_template(asked.template_id)
    given = None if asked.use_saved_credentials else _given_secret(asked.credentials or ())
    if failures := await sync().validate(app, organizations, given):
        raise _invalid(failures)
    return func.HttpResponse(status_code=204)


def _given_secret(credentials: Sequence[SecretPair]) -> GivenSecret | None:
    if not credentials:
        return None
    given = {pair.key.lower(): pair.value for pair in credentials}
    secret = given.get(_CLIENT_SECRET)
    if not secret or not given.keys() <= {_CLIENT_ID, _CLIENT_SECRET}:
        raise BadRequest(
            "credentials takes a ClientSecret, and a ClientIdentifier where it is another application's; "
            "with useSavedCredentials, or without credentials, the organization's own are validated."
        )
    return sync().GivenSecret(given.get(_CLIENT_ID) or None, secret)


def _invalid(failures: Mapping[str, Failures]) -> ApiError:
    """The answer to credentials that do not work, or, when Graph did not say so, the request to ask again."""
    details = [
        ErrorDetail(failure.code, failure.message, target=part if len(failures) == 1 else f"{name}: {part}")
        for name, of_parts in failures.items()
        for part, failure in of_parts.items()
    ]
    told = f"{', '.join(failures)} cannot be synchronized. " + " ".join(
        f"{detail.target}: {detail.message}" for detail in details[:_TOLD_AT_ONCE]
    )
    every = [failure for of_parts in failures.values() for failure in of_parts.values()]
    if all(isinstance(failure, GraphUnavailable) for failure in every):
        return ServiceUnavailable(told, headers={"Retry-After": "30"}, details=details)
    return BadRequest(told, code=details[0].code, details=details)
