"""Microsoft Graph, read through msgraph-sdk.

msgraph and azure.identity are imported inside functions only: answering a state request must not pay for them
(design: about a second of a cold start).
"""
