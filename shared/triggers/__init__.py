"""The Azure Functions: thin blueprints over the other rooms."""
