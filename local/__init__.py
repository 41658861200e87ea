"""Development only: what a local run needs in place of Azure and Microsoft 365; never deployed."""
