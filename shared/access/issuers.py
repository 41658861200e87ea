"""What Microsoft Entra calls itself in the tokens of each cloud."""

from __future__ import annotations

from dataclasses import dataclass

from shared.models.organizations import Region


@dataclass(frozen=True, slots=True)
class Issuer:
    """One cloud's Entra.

    Attributes:
        login: Where people and programs sign in, which is also the issuer of tokens of version 2.0.
        sts: The issuer of tokens of version 1.0.
    """

    login: str
    sts: str

    def names(self, tenant_id: str) -> tuple[str, str]:
        """What ``iss`` may say in tokens for this tenant: version 2.0, version 1.0."""
        return f"{self.login}/{tenant_id}/v2.0", f"{self.sts}/{tenant_id}/"

    @property
    def keys_url(self) -> str:
        """Where the keys are that tokens of either version are signed with."""
        return f"{self.login}/common/discovery/v2.0/keys"

    @property
    def authorization_url(self) -> str:
        """Where a client begins that has no token."""
        return f"{self.login}/common/oauth2/v2.0/authorize"


# Tokens of version 1.0 are the United States government's under the global name, as Microsoft's documentation has it.
_GLOBAL_STS = "https://sts.windows.net"
_US_GOVERNMENT = Issuer("https://login.microsoftonline.us", _GLOBAL_STS)

ISSUERS = {
    Region.WORLDWIDE: Issuer("https://login.microsoftonline.com", _GLOBAL_STS),
    Region.US_GOVERNMENT: _US_GOVERNMENT,
    Region.US_DEFENCE: _US_GOVERNMENT,
    Region.CHINA: Issuer("https://login.partner.microsoftonline.cn", "https://sts.chinacloudapi.cn"),
}
