"""The messages between the Functions host and its Python worker, as real protobuf classes.

The runtime is handed these classes by the platform's own process, which PyPI does not have. They are made here of the
names and types of the protocol's fields; nothing goes over a wire, so the fields' numbers do not matter. Fields that no
test reads or sets are left out.
"""
# Of the Python 3.13 environment: see tests/runtime/environment.py.
# pyright: reportMissingModuleSource=false

from __future__ import annotations

from itertools import count
from types import SimpleNamespace

from google.protobuf import descriptor_pb2, descriptor_pool, duration_pb2, message_factory, timestamp_pb2

PACKAGE = "AzureFunctionsRpcMessages"

# The type of a field: a scalar, a message, or an enumeration; [x] is a list of them, {x} a map of them by text.
MESSAGES: dict[str, dict[str, str]] = {
    "StreamingMessage": {
        "request_id": "string",
        "worker_init_request": "WorkerInitRequest",
        "functions_metadata_request": "FunctionsMetadataRequest",
        "function_load_request": "FunctionLoadRequest",
        "invocation_request": "InvocationRequest",
    },
    "WorkerInitRequest": {
        "host_version": "string",
        "capabilities": "{string}",
        "worker_directory": "string",
        "function_app_directory": "string",
    },
    "WorkerInitResponse": {
        "capabilities": "{string}",
        "result": "StatusResult",
        "worker_metadata": "WorkerMetadata",
    },
    "WorkerMetadata": {
        "runtime_name": "string",
        "runtime_version": "string",
        "worker_version": "string",
        "worker_bitness": "string",
        "custom_properties": "{string}",
    },
    "StatusResult": {"status": "StatusResult.Status", "result": "string", "exception": "RpcException"},
    "RpcException": {"source": "string", "message": "string", "stack_trace": "string"},
    "FunctionsMetadataRequest": {"function_app_directory": "string"},
    "FunctionMetadataResponse": {
        "function_metadata_results": "[RpcFunctionMetadata]",
        "result": "StatusResult",
        "use_default_metadata_indexing": "bool",
    },
    "RpcFunctionMetadata": {
        "name": "string",
        "function_id": "string",
        "directory": "string",
        "script_file": "string",
        "entry_point": "string",
        "language": "string",
        "bindings": "{BindingInfo}",
        "raw_bindings": "[string]",
        "is_proxy": "bool",
        "managed_dependency_enabled": "bool",
        "retry_options": "RpcRetryOptions",
        "properties": "{string}",
    },
    "BindingInfo": {"type": "string", "direction": "BindingInfo.Direction", "data_type": "BindingInfo.DataType"},
    "RpcRetryOptions": {
        "max_retry_count": "int32",
        "retry_strategy": "RpcRetryOptions.RetryStrategy",
        "delay_interval": "Duration",
        "minimum_interval": "Duration",
        "maximum_interval": "Duration",
    },
    "FunctionLoadRequest": {"function_id": "string", "metadata": "RpcFunctionMetadata"},
    "FunctionLoadResponse": {"function_id": "string", "result": "StatusResult"},
    "InvocationRequest": {
        "invocation_id": "string",
        "function_id": "string",
        "input_data": "[ParameterBinding]",
        "trigger_metadata": "{TypedData}",
        "trace_context": "RpcTraceContext",
        "retry_context": "RetryContext",
    },
    "RpcTraceContext": {"trace_parent": "string", "trace_state": "string", "attributes": "{string}"},
    "RetryContext": {"retry_count": "int32", "max_retry_count": "int32", "exception": "RpcException"},
    "InvocationResponse": {
        "invocation_id": "string",
        "output_data": "[ParameterBinding]",
        "return_value": "TypedData",
        "result": "StatusResult",
    },
    "ParameterBinding": {"name": "string", "data": "TypedData"},
    "TypedData": {
        "string": "string",
        "json": "string",
        "bytes": "bytes",
        "http": "RpcHttp",
        "int": "sint64",
        "double": "double",
        "collection_bytes": "CollectionBytes",
        "collection_string": "CollectionString",
    },
    "CollectionBytes": {"bytes": "[bytes]"},
    "CollectionString": {"string": "[string]"},
    "RpcHttp": {
        "method": "string",
        "url": "string",
        "headers": "{string}",
        "params": "{string}",
        "query": "{string}",
        "body": "TypedData",
        "status_code": "string",
        "enable_content_negotiation": "bool",
        "cookies": "[RpcHttpCookie]",
    },
    "RpcHttpCookie": {
        "name": "string",
        "value": "string",
        "domain": "NullableString",
        "path": "NullableString",
        "expires": "NullableTimestamp",
        "secure": "NullableBool",
        "http_only": "NullableBool",
        "same_site": "RpcHttpCookie.SameSite",
        "max_age": "NullableDouble",
    },
    "NullableString": {"value": "string"},
    "NullableBool": {"value": "bool"},
    "NullableDouble": {"value": "double"},
    "NullableTimestamp": {"value": "Timestamp"},
}
# The fields of which a message has one at a time: all that follow the one named, or all there are.
ONE_OF = {
    "StreamingMessage": ("content", "request_id"),
    "ParameterBinding": ("rpc_data", "name"),
    "TypedData": ("data", None),
}
ENUMERATIONS = {
    "StatusResult.Status": ("Failure", "Success", "Cancelled"),
    "BindingInfo.Direction": ("in", "out", "inout"),
    "BindingInfo.DataType": ("undefined", "string", "binary", "stream"),
    "RpcRetryOptions.RetryStrategy": ("exponential_backoff", "fixed_delay"),
    "RpcHttpCookie.SameSite": ("None", "Lax", "Strict", "ExplicitNone"),
}
WELL_KNOWN = {"Duration": duration_pb2, "Timestamp": timestamp_pb2}

Field = descriptor_pb2.FieldDescriptorProto


def load() -> SimpleNamespace:
    """The classes by their names, as the platform's worker hands them to the runtime."""
    file = descriptor_pb2.FileDescriptorProto(name="worker.proto", package=PACKAGE, syntax="proto3")
    file.dependency.extend(module.DESCRIPTOR.name for module in WELL_KNOWN.values())
    for name, fields in MESSAGES.items():
        _add_message(file.message_type.add(name=name), fields)
    pool = descriptor_pool.Default()
    pool.Add(file)
    classes = {name: pool.FindMessageTypeByName(f"{PACKAGE}.{name}") for name in MESSAGES}
    return SimpleNamespace(**{name: message_factory.GetMessageClass(found) for name, found in classes.items()})


def _add_message(message: descriptor_pb2.DescriptorProto, fields: dict[str, str]) -> None:
    for full_name, values in ENUMERATIONS.items():
        owner, _, name = full_name.partition(".")
        if owner == message.name:
            enumeration = message.enum_type.add(name=name)
            for number, value in enumerate(values):
                enumeration.value.add(name=value, number=number)
    group, follows = ONE_OF.get(message.name, (None, None))
    if group:
        message.oneof_decl.add(name=group)
    belongs = follows is None
    numbers = count(1)
    for name, kind in fields.items():
        field = message.field.add(name=name, number=next(numbers), label=Field.LABEL_OPTIONAL)
        if kind.startswith("{"):
            _add_map(message, field, kind[1:-1])
        else:
            if kind.startswith("["):
                field.label = Field.LABEL_REPEATED
            _set_type(field, kind.strip("[]"))
            if group and belongs:
                field.oneof_index = 0
        belongs = belongs or name == follows


def _add_map(message: descriptor_pb2.DescriptorProto, field: Field, kind: str) -> None:
    """A map is a list of entries of a message made for it, named as protobuf demands."""
    entry = message.nested_type.add(name=field.name.title().replace("_", "") + "Entry")
    entry.options.map_entry = True
    _set_type(entry.field.add(name="key", number=1, label=Field.LABEL_OPTIONAL), "string")
    _set_type(entry.field.add(name="value", number=2, label=Field.LABEL_OPTIONAL), kind)
    field.label = Field.LABEL_REPEATED
    field.type = Field.TYPE_MESSAGE
    field.type_name = f".{PACKAGE}.{message.name}.{entry.name}"


def _set_type(field: Field, kind: str) -> None:
    if kind in MESSAGES or kind in WELL_KNOWN:
        field.type = Field.TYPE_MESSAGE
        field.type_name = f".google.protobuf.{kind}" if kind in WELL_KNOWN else f".{PACKAGE}.{kind}"
    elif kind in ENUMERATIONS:
        field.type = Field.TYPE_ENUM
        field.type_name = f".{PACKAGE}.{kind}"
    else:
        field.type = Field.Type.Value(f"TYPE_{kind.upper()}")
