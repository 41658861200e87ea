"""What is told to whoever watches over the service: spans, metrics, labels of logs; OpenTelemetry's API and no more.

Who exports it, the Functions worker, is set up by app settings (docs/decisions/0018-telemetry.md). Nobody's name or id
is in it, no token and no cursor: tests/telemetry/test_telemetry.py.
"""

SCOPE = "m365-organization-cache"
"""Under what name OpenTelemetry knows the product's own spans and metrics."""
