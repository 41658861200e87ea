"""The platform's process around the genuine runtime, run by the deployment's Python: one message a line, in and out.

It hands azure-functions-runtime what the worker of Azure's Python 3.13 hands it, and gives back what that answers. A
message is a StreamingMessage of the protocol in protobuf's own JSON, an answer is the response to its content.
"""
# Of the Python 3.13 environment: see tests/runtime/environment.py.
# pyright: reportMissingModuleSource=false, reportMissingImports=false

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import dataclass
from typing import Any


@dataclass
class WorkerRequest:
    """How the runtime is handed a message."""

    name: str
    request: Any
    properties: dict[str, Any]


async def serve(app_folder: str, worker_folder: str) -> None:
    # Deployed packages come before the worker's own, as in Azure.
    sys.path.append(worker_folder)
    import azure_functions_runtime as runtime
    import protocol
    from google.protobuf import json_format

    # This script's folder is not there where the app is deployed to.
    sys.path[0] = app_folder
    protos = protocol.load()
    answers = os.fdopen(os.dup(1), "w")
    # What the app prints must not be taken for an answer.
    os.dup2(2, 1)
    runtime.start_threadpool_executor()
    while line := await asyncio.to_thread(sys.stdin.readline):
        message = json_format.Parse(line, protos.StreamingMessage())
        content = message.WhichOneof("content")
        handle = getattr(runtime, content)
        response = await handle(WorkerRequest(content, message, {"protos": protos, "host": "127.0.0.1"}))
        told = json_format.MessageToJson(response, preserving_proto_field_name=True, indent=None)
        print(told, file=answers, flush=True)
    runtime.stop_threadpool_executor()


if __name__ == "__main__":
    asyncio.run(serve(*sys.argv[1:]))
