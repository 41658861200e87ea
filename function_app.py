"""The Functions app: a table of contents of its triggers."""

import os

import azure.functions as func

from shared.loading import loaded_for_good

# Nothing here is a plugin of pydantic, which would look for some in a file of every installed package (4 to 15 ms).
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")

with loaded_for_good():
    from shared.access.gate import refuse_unprotected_start
    from shared.triggers import (
        documentation,
        health,
        job_actions,
        organizations,
        queues,
        synchronization_jobs,
        synchronization_schemas,
        timers,
        webhooks,
    )

refuse_unprotected_start()

# The functions of the API check tokens themselves (shared/api/routing.py), which function keys would only stand beside.
app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)

for blueprint in (
    timers.blueprint,
    queues.blueprint,
    organizations.blueprint,
    webhooks.blueprint,
    synchronization_jobs.blueprint,
    job_actions.blueprint,
    synchronization_schemas.blueprint,
    documentation.blueprint,
    health.blueprint,
):
    app.register_functions(blueprint)
