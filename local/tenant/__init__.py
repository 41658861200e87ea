"""A simulated Microsoft 365 tenant: an HTTP server that speaks Microsoft Graph's delta protocol.

    python -m local.tenant --port 7072 --users 5000 --seed 1
    curl http://127.0.0.1:7072/control

Its objects are computed from the seed and their number, so a tenant of a million users starts at
once and takes no memory for them; only what is changed is kept. The same seed, sizes and changes
give the same tenant, tokens and pages. Nothing survives a restart but what the seed gives; a delta
token of a history that is no more is answered 410.

Graph is under `/v1.0` and `/beta`, the identity endpoint of App Service at `/msi/token`
(`IDENTITY_ENDPOINT=http://127.0.0.1:7072/msi/token`, `IDENTITY_HEADER=local-identity-header`).

Entra's token service, for whatever tenant the path names: `/{tenant}/v2.0/.well-known/openid-configuration`,
`/{tenant}/discovery/v2.0/keys` and, with a secret, `/{tenant}/oauth2/v2.0/token`; see `local.tenant.issuer`. Its tokens
are for an API that trusts these keys; the simulated Graph takes its own tokens alone, of `/msi/token`.

Control surface, without authentication; objects are users, groups or sites:

    GET    /control                          counts, sequence number, options, fault rules
    POST   /control/mutate                   {"count": 25, "seed": 7}: that many random changes
    POST   /control/{objects}                properties (groups: also members, owners as ids) -> 201, the object
    GET    /control/{objects}/{id}           all properties, "@softDeleted": true where that is so
    PATCH  /control/{objects}/{id}           properties -> the object
    DELETE /control/{objects}/{id}           ?permanent=true removes for good; sites always
    POST   /control/{objects}/{id}/restore   -> the object
    POST   /control/groups/{id}/members      {"add": [ids], "remove": [ids]} -> {"added", "removed"}; also owners
    POST   /control/groups/{id}/channels     {"add": [names], "remove": [names], "rename": {old: new}} -> the channels
    POST   /control/users/{id}/userPurpose   {"value": "shared"}: what the mailbox is for, "" without one
    GET    /control/truth/{kind}             NDJSON; kind is users, groups, teams, sites, members, owners, mailboxes
                                             or channels
    GET    /control/faults                   the rules with how often each matched and struck
    POST   /control/faults                   [rule, ...] are added; DELETE removes all
    GET    /control/options                  POST {"pageSize": 50, ...} sets some
    POST   /control/expireTokens             {"resource": "users"|null}: tokens given out until now answer 410
    GET    /control/subscriptions            with their clientState; DELETE .../{id} drops one without a word
    POST   /control/subscriptions/{id}/lifecycle  {"event": "missed"}: tells that of the subscription
    POST   /control/subscriptions/{id}/notify     {"count": 1, "clientState": "forged", ...}: notifications of nothing,
                                             with these members in place of the true ones
    GET    /control/deliveries               once none is under way: how many were taken, refused, and wait to be
                                             tried again
    GET    /control/requests                 counts per path and throttle priority, delta pages, pages read twice;
                                             DELETE begins anew

A fault rule, with its defaults: `{"path": ".*" (searched in the path), "kind": "status", "status": 429,
"retryAfter": null (seconds or an HTTP date), "code": null, "times": null (for ever), "after": 0,
"probability": 1.0, "milliseconds": 300, "find": "", "replace": ""}`. Kinds: `status` (also within a
batch), `latency`, `hold` (answered once the rules are lifted), `truncate` (connection closed in the
middle of the body), `malformed` (200 with broken JSON), `disconnect` (closed before any answer), `rewrite`
(regular expression `find` in the body becomes `replace`: links to another host, missing ids, wrong types).

Records in a feed begin with their id, links do not; so this rule breaks all records of one user there, and
nothing else, while the user itself reads well: `{"path": "/users/delta", "kind": "rewrite",
"find": "{\"id\":\"<id>\"(,\"@removed\":{[^}]*})?", "replace": "{\"@removed\":5,\"id\":\"<id>\""}`. With
`"replace": "{\"id\":5"` nobody can tell whose they are. Rules are lifted together, by DELETE, or one by its `times`.

`local.tenant.reader.ReferenceReader` keeps a copy by delta rounds and compares it with the truth.

What truth means for a reader: a delta feed tells of a soft-deleted object only its id, so changes made
in the same round before its deletion are not to be had until it is restored; links of an object
that was removed for good end without a word, unless `announceHardDeletedLinks` is on. Links to a
soft-deleted object are kept, but `/groups/{id}/members` and `owners` do not name it.

Notifications go to `notificationUrl` in the background: changes that the control surface makes are told at once,
in bundles, and what is not answered 2xx within 10 seconds is told again after `deliveryRetryMs`, twice that, and so on
up to 4 hours. Subscriptions end at their `expirationDateTime`.

No feed tells of a mailbox's purpose or of a team's channels; random changes of them change the user, or the team's
group, as well.

Single objects are found by id while they are live, users also by userPrincipalName, sites only by the
composite id: reports say that Graph does not take the bare one of some feeds.

What it does not imitate:

* replication delay: a change is visible at once, and all reads see one state;
* throttling by the resource units that answers tell (rules give 429), x-ms-throttle headers, roles and permissions;
* the 30 days after which soft-deleted objects go, and the age of tokens; soft-deleted users keep the
  userPrincipalName, and the first of two users of the same one is found by it;
* `$filter` in delta and in lists (but for the teams' one), `$expand`, `$orderby`, `$search`, `manager`;
* sites by path or host, the root site; keys in brackets, as in `users('...')`;
* members other than users and groups; dynamic, hidden and on-premises membership;
* undeletes hidden by a narrow `$select`; replays in initial rounds; removed links in initial rounds;
* that security groups cannot be soft-deleted: DELETE does it when asked, random rounds do not;
* properties listed by Graph but unset here are null for ever; unknown ones are refused;
* that notifications come late, doubled or disordered, and are held back from an address that answers slowly; rich
  notifications; subscriptions to anything but all users and all groups, and whose they are;
* drives, restore points, writes through Graph, other delta resources;
* grants other than client credentials, consent, and applications per tenant.
"""

from local.tenant.directory import Directory
from local.tenant.options import Options
from local.tenant.server import TenantServer, create_app

__all__ = ["Directory", "Options", "TenantServer", "create_app"]
