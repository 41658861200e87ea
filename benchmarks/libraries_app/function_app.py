"""The least that an app can be that answers about state with the product's libraries: two statements, and one model.

None of the product's rooms is loaded. What this takes longer than the bare app is what the libraries take; it is loaded
as the product is (``shared.loading``).
"""

import os

import azure.functions as func

from shared.loading import loaded_for_good

os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")

with loaded_for_good():
    from pydantic import BaseModel
    from sqlalchemy import create_engine, text

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)

_ORGANIZATION = text(
    "SELECT organizations.organization_id, jobs.status_code, runs.run_id, runs.status FROM organizations"
    " JOIN jobs ON jobs.organization_id = organizations.organization_id"
    " LEFT JOIN runs ON runs.organization_id = jobs.organization_id AND runs.run_id = jobs.last_run"
    " WHERE organizations.name = :name AND organizations.removed_at IS NULL"
)
_PARTS = text(
    "SELECT parts.part, run_parts.status FROM parts"
    " LEFT JOIN run_parts ON run_parts.organization_id = parts.organization_id AND run_parts.part = parts.part"
    " AND run_parts.run_id = parts.last_run WHERE parts.organization_id = :key"
)


class State(BaseModel):
    status: str
    last: str | None
    parts: dict[str, str | None]


@app.route(route="organizations/{name}/syncState", methods=["GET"])
def state(req: func.HttpRequest) -> func.HttpResponse:
    engine = create_engine(os.environ["DATABASE_URL"])
    with engine.connect() as connection:
        found = connection.execute(_ORGANIZATION, {"name": req.route_params["name"]}).one()
        parts = connection.execute(_PARTS, {"key": found.organization_id}).all()
    answer = State(status=found.status_code, last=found.status, parts={row.part: row.status for row in parts})
    return func.HttpResponse(answer.model_dump_json(), mimetype="application/json")
