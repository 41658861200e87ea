"""A development-only host that runs an unmodified Python v2 function app without Core Tools.

It imitates, after Azure/azure-functions-host, azure-functions-python-worker and azure-webjobs-sdk:

* Routing: templates with `{p}`, `{p?}`, `{*p}` and the constraints int, guid, alpha; no case, no trailing slash;
  percent-decoded except `%2F`. Routes are tried in the order of the function names (regardless of case) and the first
  that takes path and method gets the request; otherwise 404 with an empty body, never 405. The real host has no
  precedence of literals over parameters (azure-functions-host issues 3153 and 9876, open); a route that stands behind
  a less specific one is warned of at the start. `route_order="specificity"` gives ASP.NET Core's precedence instead.
* Requests: repeated query values and headers joined by commas, empty query values left out. Responses: headers with
  the same name collapse to one, cookies excepted; a returned str is 200 text/plain; None where a response is due, or
  an exception, is 500 with an empty body. Keys are demanded only if given to the host.
* Outputs: encoded by azure.functions' own converters, sent after the function returned and before the response; a
  text that is a JSON array becomes one message per item; text that only looks like JSON fails the invocation.
* Queues: batchSize, newBatchThreshold, maxDequeueCount, visibilityTimeout, maxPollingInterval, messageEncoding; poison
  queues; 10 minute leases renewed at half; the polling delays; the 64 KiB limit. Simulated instances are independent
  listeners.
* Timers: NCRONTAB in UTC (day of month AND day of week), time spans, run_on_startup, past due against the recorded
  status (kept in a file if one is given), never two invocations of one timer at once, one timer for all instances.
* `POST /admin/functions/{name}`, `AzureWebJobs.{name}.Disabled`, the worker's thread pool, graceful shutdown.

It does not imitate:

* Processes: host, worker and all instances are one process and one event loop, so an app's module state is shared by
  instances, their thread pools are one of the summed size, and HTTP is not spread over them. No restart on changes.
* Other triggers and bindings (blob, table, Service Bus, Durable Functions and so on), streaming (HTTP v2), SDK-type
  bindings, worker extensions: a trigger or binding that is not supported stops the start with an error.
* Retry policies (`@app.retry`), functionTimeout, HTTP throttling, request size limits, CORS, Easy Auth, proxies, the
  home page, the rest of the admin API, warmup, managed secrets. ADMIN level takes the same keys as FUNCTION.
* Scaling: the number of instances is fixed; there is no target-based scaling and no cold start. The default of
  newBatchThreshold is batchSize/2, not multiplied by the processors as on dedicated plans.
* Newtonsoft's detours: a JSON text as queue output is not re-indented and its dates are not rewritten; a JSON text
  returned for HTTP is sent as it is, not taken apart as a response object.
* Requests without Content-Length: their body reaches the function, where the real host leaves it out.
* In-process queues lose everything at the end; messages do not expire after 7 days; a lease does not run out while
  its function runs. Undecodable storage messages are retried and end as poison, by way of ordinary failures.
* A function in error stops the start; the real host starts without it. Time zones other than UTC; route defaults and
  other constraints; identity-based connections; `%SETTING%` outside schedules and queue names.
* `context.trace_context` and `retry_context` are there in form only; nothing goes to Application Insights.

In tests: `async with FunctionsHost(app, settings={...}, timers=False) as host` on the test's own loop, or
`with HostServer(app, settings={...}) as server` in a thread; then `url`, `drain()`, `fire_timer(name)`,
`queue(name)` to send and `memory_queue(name)` to look into.
"""

from .host import FunctionsHost, HostServer
from .invocation import InvocationFailed
from .metadata import HostStartupError
from .queues import InProcessQueue, MessageQueue, QueueItem

__all__ = [
    "FunctionsHost",
    "HostServer",
    "HostStartupError",
    "InProcessQueue",
    "InvocationFailed",
    "MessageQueue",
    "QueueItem",
]
