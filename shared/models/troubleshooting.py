"""What an error code means and what to do about it: the catalogue of our pages for people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Who(StrEnum):
    """Who can do what a page says; the errors of the first kind are ``tenantActionable``."""

    ADMINISTRATOR = "The tenant's administrator"
    OPERATOR = "Whoever operates this service"


class Alert(StrEnum):
    """What operators are alerted of, by the heading of its section in docs/operations.md."""

    QUARANTINE = "Quarantine"
    LAG = "Lag"
    DEAD_MESSAGES = "Dead messages"
    SERVER_ERRORS = "Server errors"
    DELETION_GUARD = "Deletion guard"
    ESCROWS = "Escrows"
    DRIFT = "Drift"
    THROTTLING = "Throttling"


@dataclass(frozen=True, slots=True)
class Page:
    """A page about an error. What stands between backticks in its texts is code.

    Attributes:
        codes: The error codes that it explains; its address has the first one.
        who: Who can do the steps.
        meaning: What happened.
        meanwhile: What the service does by itself until somebody has done the steps.
        alerts: What operators are alerted of when it happens.
    """

    codes: tuple[str, ...]
    title: str
    who: Who
    meaning: str
    meanwhile: str
    steps: tuple[str, ...]
    alerts: tuple[Alert, ...] = ()

    @property
    def code(self) -> str:
        """The code that its address has."""
        return self.codes[0]


_QUARANTINED = (
    "The job is in quarantine. Unless the app settings say otherwise, it is tried again 6, 12 and 24 hours after the "
    "quarantine began and then once a day; the first run that works ends the quarantine. After 28 days the job is "
    "disabled, and nothing happens until it is started or restarted. What the cache holds stays readable."
)
_PART_FAILS = (
    "The part fails in this run and the other parts go on. The next run tries it again. Nothing that the cache holds "
    "of the part is lost."
)
_TRIED_AGAIN = (
    "The part is tried again after 15 seconds, and then after waits that double. After `SLICE_ATTEMPTS` failures in a "
    "row it fails in this run; the other parts go on, and the next run tries it again."
)
_PUT_ASIDE = (
    "What failed is put aside and everything else goes on. It is tried again by itself, at first after half an hour "
    "and then after waits that double up to a day, until it succeeds or is gone. What the cache held of it stays."
)
_START = "Then `POST …/synchronization/jobs/{jobId}/start`: the quarantine is lifted and a run begins at once."
_SYNC = "The next run tries again; `POST /organizations/{id}/sync` starts one at once."
_FULL = 'If it comes again, read everything anew: `POST /organizations/{id}/sync` with `{"type": "Full"}`.'
_SUPPORT = "If it lasts, give Microsoft's support the `request-id` and the path that the error's message names."
_REPORT = "If that does not help either, report the part and the time of the run to Microsoft's support."
_ESCROWS = "`GET /organizations/{id}/escrows` lists the objects with their errors; repair what these have in common."

GENERAL = Page(
    ("general",),
    "Any other error",
    Who.OPERATOR,
    "The code is one of Microsoft Graph's that has no page here. The error's message tells the path that was asked "
    "for, the status that Graph answered and the `request-id` under which Graph knows the request.",
    _PART_FAILS + " What passes by itself was tried again several times before that.",
    (
        "Read `status.quarantine.error` or `status.lastExecution.error` of the job. If it is `tenantActionable`, the "
        "tenant's administrator can repair the cause.",
        "The path tells what was being read, `/groups/delta` for example. Look the code up in Microsoft Graph's "
        "documentation of that path.",
        _SUPPORT + " The service's own log has the same message, with what came before it.",
        _SYNC,
    ),
)
"""The page for every code that has none of its own."""

_PAGES = (
    Page(
        ("EncounteredCredentialError",),
        "No token for the organization",
        Who.ADMINISTRATOR,
        "Microsoft Entra issued no token to the application with which the organization was registered. Its secret or "
        "certificate is wrong or has expired, or the tenant does not know the application.",
        _QUARANTINED,
        (
            "In Microsoft Entra, open the sign-in logs of service principals: they tell why it was refused.",
            "Renew a secret or certificate that has expired, and have it stored in Key Vault under the same name, "
            "where it is read anew.",
            "For a federated credential, compare issuer, subject and audience with those of the service's identity.",
            "Compare `tenantId`, `region` and `clientId` in `GET /organizations/{id}` with the tenant.",
            _START,
        ),
        (Alert.QUARANTINE,),
    ),
    Page(
        ("CredentialUnavailable",),
        "The service lacks what the credential is made of",
        Who.OPERATOR,
        "The service got no token of its own managed identity, or one of another tenant than the organization; or the "
        "certificate or secret that the registration names is missing in Key Vault, may not be read or cannot be used.",
        _QUARANTINED,
        (
            "The error's message says which of these it is, and names the secret or the app setting.",
            "For the identity: see that it is assigned to the app, and that `AZURE_CLIENT_ID` is its client id. Of "
            "another tenant than its own it reads nothing: register that organization with a `federated` credential.",
            "For a certificate or secret: see that `KEY_VAULT_URL` is the vault's address, that the secret is there "
            "and enabled, and that the identity has the role Key Vault Secrets User. A certificate is a PFX file in "
            "base64 or a PEM file, with its RSA key. Without a vault it is the app setting "
            "`ORGANIZATION_SECRET_<NAME>`.",
            _START,
        ),
        (Alert.QUARANTINE,),
    ),
    Page(
        ("InvalidAuthenticationToken", "unauthenticated"),
        "Microsoft Graph refuses the token",
        Who.ADMINISTRATOR,
        "Microsoft Entra issued a token and Microsoft Graph does not take it. The application was disabled or removed "
        "in the tenant, or the organization lives in another cloud than its registration says.",
        _QUARANTINED,
        (
            "In Microsoft Entra, see that the enterprise application exists and is enabled for sign-in.",
            "Compare `region` in `GET /organizations/{id}` with the tenant's cloud.",
            _START,
        ),
        (Alert.QUARANTINE,),
    ),
    Page(
        ("Authorization_RequestDenied", "accessDenied"),
        "A permission is missing",
        Who.ADMINISTRATOR,
        "The application may not read a part of the organization. The error's message names the permission that the "
        "part needs.",
        _PART_FAILS + " When Graph refuses every part, the job is put in quarantine.",
        (
            "In Microsoft Entra, open the application's API permissions and add the permission as an application "
            "permission of Microsoft Graph.",
            "Grant admin consent. Tokens carry it that are issued from then on: within about an hour, for a managed "
            "identity within a day.",
            _SYNC,
            "A job in quarantine waits for its next attempt unless it is started: "
            "`POST …/synchronization/jobs/{jobId}/start`.",
        ),
        (Alert.LAG,),
    ),
    Page(
        ("EncounteredQuarantineException",),
        "The job is in quarantine for a fatal error",
        Who.ADMINISTRATOR,
        "The organization does not let the service in: there is no token, the token is refused, or the permission for "
        "every part is missing.",
        _QUARANTINED,
        ("Read `status.quarantine.error` of the job and go to the page of its code.", _START),
        (Alert.QUARANTINE,),
    ),
    Page(
        ("TooManyDeletes",),
        "Deletions are held back",
        Who.ADMINISTRATOR,
        "In one run, more objects of a part would be deleted than the job setting `QuarantineTooManyDeletesThreshold` "
        "allows. Somebody may have deleted them by mistake, or taken them out of what the application can see.",
        "None of these deletions is carried out; everything else of the run is written. " + _QUARANTINED,
        (
            "Look at `GET /organizations/{id}/heldDeletions`: it lists what would be deleted, and why.",
            "If they are right, `POST …/synchronization/jobs/{jobId}/restart` with "
            '`{"criteria": {"resetScope": "ForceDeletes"}}`: they are carried out once.',
            "If they are wrong, restore the objects or the application's access to them, then "
            "`POST …/synchronization/jobs/{jobId}/restart`: what is there again is no longer held for deletion.",
            "If so many are usual, raise the threshold and start the job: `PATCH …/synchronization/jobs/{jobId}` with "
            '`{"synchronizationJobSettings": [{"name": "QuarantineTooManyDeletesThreshold", "value": "1000"}]}`, then '
            "`POST …/synchronization/jobs/{jobId}/start`.",
        ),
        (Alert.DELETION_GUARD, Alert.QUARANTINE),
    ),
    Page(
        (
            "EncounteredBaseEscrowThreshold",
            "EncounteredTotalEscrowThreshold",
            "EncounteredEscrowProportionThreshold",
        ),
        "Too many objects could not be written",
        Who.OPERATOR,
        "Escrows are objects that failed and wait to be tried again. Base: too many objects wait. Total: too many "
        "wait, those of links counted. Proportion: too large a share of the objects of one run failed.",
        "Objects that did not fail are written. " + _QUARANTINED,
        (
            _ESCROWS,
            _START + " The objects are tried again as their time comes.",
            "To forget the errors instead, `POST …/synchronization/jobs/{jobId}/restart` with "
            '`{"criteria": {"resetScope": "Escrows, QuarantineState"}}`; an object is then read again when it changes.',
        ),
        (Alert.QUARANTINE, Alert.ESCROWS),
    ),
    Page(
        ("EscrowsPruned",),
        "The initial run's errors were cleared",
        Who.OPERATOR,
        "In the initial run so many objects failed that the job would have been put in quarantine. Their errors were "
        "cleared instead, the run went on to its end and the job was paused; `status.escrowsPruned` is true.",
        "The job is paused: nothing runs until it is started or restarted. The objects that did not fail are in the "
        "cache and stay readable.",
        (
            "Search the service's log and the run's error for what the failures have in common, and repair it.",
            "Then `POST …/synchronization/jobs/{jobId}/restart` without criteria: every object is read again.",
        ),
        (Alert.ESCROWS,),
    ),
    Page(
        ("QuarantinedOnDemand",),
        "Somebody put the job in quarantine",
        Who.OPERATOR,
        "The quarantine was asked for, by a `PATCH` of the job's status. Nothing need be wrong with the organization.",
        "The run that was under way was cancelled; its cursors are kept. " + _QUARANTINED,
        (
            "Ask who did it, and why; `status.quarantine.error` may tell.",
            _START,
            "To let the job rest without any attempts, `POST …/synchronization/jobs/{jobId}/pause`.",
        ),
        (Alert.QUARANTINE,),
    ),
    Page(
        ("EntryLevelErrors",),
        "Some objects could not be written",
        Who.OPERATOR,
        "The run went through, but some objects failed and wait to be tried again. They are too few for a quarantine.",
        "The job goes on as usual. " + _PUT_ASIDE,
        (_ESCROWS, "Nothing needs to be started: the runs to come try the objects again."),
        (Alert.ESCROWS,),
    ),
    Page(
        ("MalformedRecord",),
        "An object that cannot be read",
        Who.OPERATOR,
        "Microsoft Graph sent a record that is not what it promises, without an id for example.",
        _PUT_ASIDE,
        (_ESCROWS, "If the errors stay, ask Graph for one of the objects yourself and report what it answers."),
        (Alert.ESCROWS,),
    ),
    Page(
        ("ObjectRefused",),
        "The database does not take an object",
        Who.OPERATOR,
        "An object has a form that the cache database refuses.",
        _PUT_ASIDE,
        (
            _ESCROWS,
            "If many objects are refused at once, bring the database up to date: `python -m shared.cache upgrade`.",
            "Report an object that stays refused: the service is meant to store whatever Graph sends.",
        ),
        (Alert.ESCROWS,),
    ),
    Page(
        ("TooManyRequests", "activityLimitReached"),
        "Microsoft Graph asks to wait",
        Who.OPERATOR,
        "The tenant's or the application's quota of requests is used up for the moment.",
        "The part, and all others that the same services answer for, wait for as long as Graph asks and then go on"
        " where they were; the run shows until when as `nextAttempt`. Waiting does not count as a failure.",
        (
            "Nothing has to be done; a large initial run is throttled now and then.",
            "If it comes in every run, find out what else reads the tenant, or let the job run less often.",
        ),
        (Alert.THROTTLING,),
    ),
    Page(
        ("NoAnswer",),
        "Microsoft Graph did not answer",
        Who.OPERATOR,
        "No connection to Microsoft Graph or to Microsoft Entra came about, or no answer came in time.",
        _TRIED_AGAIN,
        (
            "See that the app can reach Graph and Entra over https: firewall, proxy, private DNS and `GRAPH_URL`.",
            "If only large organizations are hit, raise `GRAPH_TIMEOUT_SECONDS` or lower `GRAPH_PAGE_SIZE`.",
            _SYNC,
        ),
        (Alert.LAG,),
    ),
    Page(
        ("serviceNotAvailable", "generalException"),
        "Microsoft Graph has a fault",
        Who.OPERATOR,
        "Microsoft Graph answered with an error of its own.",
        _TRIED_AGAIN,
        ("Look at the Microsoft 365 service health.", _SUPPORT, _SYNC),
        (Alert.LAG,),
    ),
    Page(
        ("MalformedAnswer",),
        "The answer is not Microsoft Graph's",
        Who.OPERATOR,
        "What came back is not in the form of Microsoft Graph's answers. Often something between the service and Graph "
        "answered in its place.",
        _TRIED_AGAIN,
        ("See that `GRAPH_URL` and any proxy lead to Microsoft Graph itself.", _SYNC),
        (Alert.LAG,),
    ),
    Page(
        ("BadRequest", "Request_BadRequest", "invalidRequest"),
        "Microsoft Graph refuses the request",
        Who.OPERATOR,
        "Microsoft Graph does not serve what was asked for, or not in this form.",
        _PART_FAILS + " Where it concerns a single object, only that is put aside.",
        (
            "Compare `region` in `GET /organizations/{id}` with the tenant's cloud: not every cloud serves every path.",
            "See that the tenant has the service that the path belongs to, SharePoint for `/sites` for example.",
            _SUPPORT,
            _SYNC,
        ),
        (Alert.LAG,),
    ),
    Page(
        ("EntryNotFound", "Request_ResourceNotFound", "itemNotFound"),
        "An object is not found",
        Who.OPERATOR,
        "Microsoft Graph knows no live object of the id that was asked for: it was deleted, or the application may not "
        "see it.",
        "The cache keeps what it holds of the object until a run is told what became of it. Everything else goes on.",
        (
            "Compare the id with the object's in Microsoft 365. A site is found by its composite id alone, "
            "`host,site collection,web`.",
            "If the object is there, see that the application's permissions reach it.",
            _SYNC,
        ),
    ),
    Page(
        ("EntryChanged",),
        "An object changed while it was being read",
        Who.OPERATOR,
        "A synchronization wrote the object several times while it was being provisioned on demand, so that what had "
        "been read might have been the older state. Nothing was written.",
        "The run that wrote the object keeps the cache in step.",
        ("Ask again if the run has not brought what you wait for.",),
    ),
    Page(
        ("syncStateNotFound", "resyncRequired"),
        "Microsoft Graph no longer knows the cursor",
        Who.OPERATOR,
        "The cursor with which changes are asked for is too old, or Graph gave it up. That happens to jobs that rested "
        "for long.",
        "The part is read in full within the same run. Nothing is taken for deleted before that listing is complete.",
        ("Nothing has to be done.", "If it comes often, let the job run more often."),
    ),
    Page(
        ("IncompleteListing",),
        "A listing ended too early",
        Who.OPERATOR,
        "Microsoft Graph ended a listing without the link that says that it is complete.",
        _PART_FAILS + " Nothing is deleted because an incomplete listing did not name it.",
        (_SYNC, _FULL, _REPORT),
        (Alert.LAG,),
    ),
    Page(
        ("RepeatedLink",),
        "A listing that would never end",
        Who.OPERATOR,
        "The links of Microsoft Graph's listing lead back to a page that was read before.",
        _PART_FAILS,
        (_SYNC, _FULL, _REPORT),
        (Alert.LAG,),
    ),
    Page(
        ("ForeignLink",),
        "A link to another host",
        Who.OPERATOR,
        "A link leads to another host than the Graph that the service reads. It is not followed: the token would go "
        "there too.",
        _PART_FAILS + " When it is only a kept cursor that leads elsewhere, the part is read in full instead.",
        (
            "Compare `GRAPH_URL` and `region` in `GET /organizations/{id}` with the tenant's cloud.",
            "See that no proxy rewrites the addresses in answers.",
            _SYNC,
        ),
        (Alert.LAG,),
    ),
    Page(
        ("DatabaseUnavailable",),
        "The cache database is unavailable",
        Who.OPERATOR,
        "The cache database could not be used. The error's message has its own code: an SQLSTATE of PostgreSQL or a "
        "result code of SQLite.",
        "Nothing is lost: each part goes on from its last commit. While nobody can write – no connection, a full disk, "
        "a locked or read-only database – the part waits, is tried every minute, and no attempt counts. For any other "
        "reason it is tried `SLICE_ATTEMPTS` times in a row and then fails in this run; the next run tries it again.",
        (
            "See what the database says of itself: is it running, has it room, does it take connections? "
            "`GET /health` tells whether the service reaches it.",
            "`53100`, or SQLite calls itself full: make room. `53300`: allow more connections, or fewer instances of "
            "the app.",
            "SQLite calls itself busy: another process holds the file, a backup for example. Only one may write at a "
            "time.",
            "`57014` in every run: the server's `statement_timeout` is too short for a page; raise it, or lower "
            "`GRAPH_PAGE_SIZE`.",
        ),
        (Alert.SERVER_ERRORS, Alert.LAG),
    ),
    Page(
        ("DatabaseFailed",),
        "The cache database fails",
        Who.OPERATOR,
        "The cache database refused what the service does. The error's message has its own code, and no more: its "
        "words could quote what is stored.",
        _TRIED_AGAIN,
        (
            "Bring the database up to date: `python -m shared.cache upgrade`.",
            "See the database's own log at the time of the run, and whether its user may read and write every table.",
            _SYNC,
        ),
        (Alert.SERVER_ERRORS, Alert.LAG),
    ),
    Page(
        ("TooManyAttempts",),
        "A part does not get on",
        Who.OPERATOR,
        "The work on a part ended `SLICE_ATTEMPTS` times in a row without a single step forward: its worker ended, or "
        "lasted longer than its lease.",
        _PART_FAILS,
        (
            "If the error's message repeats an earlier one, go to the page of its code.",
            "Search the service's log for exceptions, for restarts and for a lack of memory.",
            "See that the database answers, and fast: `GET /health`.",
            _SYNC,
        ),
        (Alert.LAG,),
    ),
    Page(
        ("MessageDeadLettered",),
        "A queue message failed each time",
        Who.OPERATOR,
        "The message that asks for work on a part failed at every delivery and was moved to the queue "
        "`sync-slices-poison`, and the part had no attempt left.",
        _PART_FAILS,
        (
            "Search the service's log for the exception.",
            "See that the database answers (`GET /health`) and is up to date (`python -m shared.cache upgrade`).",
            _SYNC,
        ),
        (Alert.DEAD_MESSAGES,),
    ),
)

ALL_PAGES = (*_PAGES, GENERAL)
"""Every page once, the general one last."""

PAGES: Mapping[str, Page] = {code: page for page in _PAGES for code in page.codes}
"""The page of each error code that has one."""

_BY_LOWER_CASE = {code.lower(): page for code, page in PAGES.items()}


def page_for(code: str) -> Page:
    """The page of an error code, in any letter case; GENERAL for a code that has none."""
    return _BY_LOWER_CASE.get(code.lower(), GENERAL)
