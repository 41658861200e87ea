"""The Microsoft clouds: where Graph and the sign-in authority of a region are (graph.md §4.5)."""

from __future__ import annotations

from dataclasses import dataclass

from shared.models.organizations import Region


@dataclass(frozen=True, slots=True)
class Cloud:
    """One cloud's addresses and the audience of its federated credentials (graph.md §8.2)."""

    graph: str
    authority: str
    token_exchange: str

    @property
    def scope(self) -> str:
        """The scope that an app-only token for Graph is asked with."""
        return f"{self.graph}/.default"


_US_GOVERNMENT_AUTHORITY = "login.microsoftonline.us"

CLOUDS = {
    Region.WORLDWIDE: Cloud(
        "https://graph.microsoft.com", "login.microsoftonline.com", "api://AzureADTokenExchange/.default"
    ),
    Region.US_GOVERNMENT: Cloud(
        "https://graph.microsoft.us", _US_GOVERNMENT_AUTHORITY, "api://AzureADTokenExchangeUSGov/.default"
    ),
    Region.US_DEFENCE: Cloud(
        "https://dod-graph.microsoft.us", _US_GOVERNMENT_AUTHORITY, "api://AzureADTokenExchangeUSGov/.default"
    ),
    Region.CHINA: Cloud(
        "https://microsoftgraph.chinacloudapi.cn", "login.chinacloudapi.cn", "api://AzureADTokenExchangeChina/.default"
    ),
}
