"""Which ECR a host's name means: account, region, and how AWS is asked there.

Source: amazon-ecr-credential-helper, ecr-login/api/client.go (`ecrPattern`); the partitions of botocore's endpoints.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

PUBLIC_HOST = "public.ecr.aws"

_DOMAINS = r"amazonaws\.(?:com(?:\.cn)?|eu)|sc2s\.sgov\.gov|c2s\.ic\.gov|cloud\.adc-e\.uk|csp\.hci\.ic\.gov"
_DUAL_STACK = r"on\.(?:aws|amazonwebservices\.(?:com\.cn|eu))"
_PRIVATE = re.compile(
    rf"(?P<account>\d{{12}})\.dkr"
    rf"(?:\.ecr(?P<fips>-fips)?\.(?P<region>[a-z0-9-]+)\.(?P<domain>{_DOMAINS})"
    rf"|-ecr(?P<fips2>-fips)?\.(?P<region2>[a-z0-9-]+)\.(?P<domain2>{_DUAL_STACK}))"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class EcrPlace:
    """One ECR as AWS is asked for it.

    Attributes:
        service: the API, by boto3's name: ``ecr`` or ``ecr-public``.
        account: the account's id; empty: that of whoever asks.
        region: the region; empty: the one that boto3 finds. It decides the partition, and so the API's host.
        fips: whether the API's FIPS endpoint is used, since the registry's is.
        dual_stack: whether the API's dual-stack endpoint is used, since the registry's is.
    """

    service: str = "ecr"
    account: str = ""
    region: str = ""
    fips: bool = False
    dual_stack: bool = False

    @classmethod
    def of(cls, host: str) -> EcrPlace | None:
        """Return the private registry that a host's name means; None for the name of no private registry."""
        found = _PRIVATE.fullmatch(host)
        if found is None:
            return None
        return cls(
            account=found["account"],
            region=found["region"] or found["region2"],
            fips=bool(found["fips"] or found["fips2"]),
            dual_stack=found["region2"] is not None,
        )

    @property
    def registry_id(self) -> dict[str, str]:
        """The parameter of API calls that names the registry."""
        return {"registryId": self.account} if self.account else {}


PUBLIC_PLACE = EcrPlace(service="ecr-public", region="us-east-1")
"""Where tokens for public.ecr.aws come from, wherever the caller is. Source: AWS general reference, ecr-public."""
