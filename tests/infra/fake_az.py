"""Stands in for the Azure CLI and azd at the edge where no real one is: a directory in a file, and firewall rules.

It knows the commands that the scripts of infra/ use, and refuses every other. It does not imitate permissions, and of
queries only those that the scripts ask.
"""

from __future__ import annotations

import json
import os
import sys
import uuid
from pathlib import Path
from typing import Any

STORE = Path(os.environ["FAKE_AZURE"])
GRAPH = "https://graph.microsoft.com/v1.0"


def load() -> dict[str, Any]:
    empty = {"applications": {}, "principals": {}, "assignments": [], "rules": {}, "told": [], "env": {}}
    return json.loads(STORE.read_text()) if STORE.exists() else empty


def option(arguments: list[str], name: str) -> str:
    return arguments[arguments.index(name) + 1] if name in arguments else ""


def azure(store: dict[str, Any], arguments: list[str]) -> str:
    command = " ".join(argument for argument in arguments[:4] if not argument.startswith("-") and "/" not in argument)
    query, wanted = option(arguments, "--query"), option(arguments, "--id")
    match command.split():
        case ["account", "get-access-token", *_]:
            return os.environ["FAKE_TOKEN"]
        case ["provider", "register", *_]:
            store["told"].append(f"registered {option(arguments, '--namespace')}")
            return ""
        case ["account", "show", *_]:
            return {"tenantId": "99999999-8888-4777-8666-555555555555", "user.type": "user"}[query]
        case ["cloud", "show", *_]:
            return "https://login.microsoftonline.com"
        case ["ad", "signed-in-user", "show", *_]:
            return {"id": "11111111-1111-4111-8111-111111111111", "userPrincipalName": "ada@contoso.com"}[query]
        case ["ad", "app", "list", *_]:
            name = option(arguments, "--filter").removeprefix("displayName eq '").removesuffix("'")
            return "\n".join(client for client, app in store["applications"].items() if app["displayName"] == name)
        case ["ad", "app", "create", *_]:
            client = str(uuid.uuid4())
            told = {"displayName": option(arguments, "--display-name"), "id": str(uuid.uuid4()), "trusts": []}
            store["applications"][client] = told | {"signInAudience": option(arguments, "--sign-in-audience")}
            return client
        case ["ad", "app", "show", *_]:
            return store["applications"][wanted]["id"]
        case ["ad", "app", "federated-credential", verb, *_]:
            app = next(app for app in store["applications"].values() if app["id"] == wanted)
            if verb == "create":
                app["trusts"].append(json.loads(option(arguments, "--parameters")))
                return ""
            return str(sum(f"'{trust['subject']}'" in query for trust in app["trusts"]))
        case ["ad", "sp", "show", *_] if query.startswith("appRoles"):
            return "id-of-" + query.split("'")[1]
        case ["ad", "sp", "show", *_]:
            if wanted not in store["principals"]:
                sys.exit(3)
            return store["principals"][wanted]["id"]
        case ["ad", "sp", "create", *_]:
            store["principals"][wanted] = {"id": str(uuid.uuid4())}
            return store["principals"][wanted]["id"]
        case ["ad", "sp", "update", *_]:
            principal = next(found for found in store["principals"].values() if found["id"] == wanted)
            name, _, value = option(arguments, "--set").partition("=")
            principal[name] = value
            return ""
        case ["rest", *_]:
            return rest(store, option(arguments, "--method"), option(arguments, "--url"), option(arguments, "--body"))
        case ["resource", "create", *_]:
            store["rules"][wanted] = json.loads(option(arguments, "--properties"))
            store["told"].append(f"opened for {store['rules'][wanted]['startIpAddress']}")
            return ""
        case ["resource", "delete", *_]:
            del store["rules"][option(arguments, "--ids")]
            return ""
    raise SystemExit(f"unknown: az {' '.join(arguments)}")


def rest(store: dict[str, Any], method: str, url: str, body: str) -> str:
    path = url.removeprefix(GRAPH).partition("?")[0].split("/")[1:]
    match method, path:
        case "PATCH", ["applications", object_id]:
            app = next(app for app in store["applications"].values() if app["id"] == object_id)
            changes = json.loads(body)
            app["api"] = app.get("api", {}) | changes.pop("api", {})
            app |= changes
            refuse_values_of_two_meanings(app)
            return ""
        case "POST", ["servicePrincipals", _, "appRoleAssignedTo"]:
            store["assignments"].append(json.loads(body))
            return ""
        case "", ["servicePrincipals", object_id, "appRoleAssignedTo"]:
            return str(sum(assigned["resourceId"] == object_id for assigned in store["assignments"]))
    raise SystemExit(f"unknown: {method} {url}")


def refuse_values_of_two_meanings(app: dict[str, Any]) -> None:
    """As Entra does (DuplicateValue): a role and a scope of one value are one permission."""
    roles = [(one["value"], one["id"], one["displayName"], one["description"]) for one in app.get("appRoles", ())]
    scopes = [
        (one["value"], one["id"], one["adminConsentDisplayName"], one["adminConsentDescription"])
        for one in app.get("api", {}).get("oauth2PermissionScopes", ())
    ]
    permissions = {*roles, *scopes}
    if len({value for value, *_ in permissions}) < len(permissions):
        raise SystemExit("It contains duplicate value.")


def azd(store: dict[str, Any], arguments: list[str]) -> str:
    match arguments:
        case ["env", "set", name, value]:
            store["env"][name] = value
            return ""
        case ["env", "get-value", name]:
            if name not in store["env"]:
                print(f"ERROR: key '{name}' not found in the environment values")
                sys.exit(1)
            return store["env"][name]
    raise SystemExit(f"unknown: azd {' '.join(arguments)}")


def main() -> None:
    store = load()
    answer = {"az": azure, "azd": azd}[sys.argv[1]](store, sys.argv[2:])
    STORE.write_text(json.dumps(store))
    if answer:
        print(answer)


main()
