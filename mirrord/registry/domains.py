"""Which host names belong to one owner, decided without the public suffix list.

That list has ten thousand entries and changes weekly. Here every doubt ends in "another owner", which costs the user
one line of configuration (``auth_hosts``) and never a credential.
"""

from __future__ import annotations

import re
from typing import Final

from mirrord.registry.guard import host_literal

_SECOND_LEVEL: Final = re.compile(
    r"ac|asn|co|com|ed|edu|firm|gen|go|gob|gouv|gov|govt|gub|id|ind|info|ltd|me|mil|muni|ne|net|nhs|nic|nom|or|org"
    r"|plc|police|press|pro|sch|school|web"
)
"""Below a country's two letters these labels are for everyone: ``example.co.uk`` is a name, ``co.uk`` is none."""

_COUNTRY_LETTERS: Final = 2

_SHARED: Final = frozenset(
    {
        "akamaihd.net",
        "akamaized.net",
        "aliyuncs.com",  # object storage beside registries
        "amazonaws.com",  # the same
        "amazonaws.com.cn",
        "amazonaws.eu",
        "app",
        "appspot.com",
        "azure-api.net",
        "azure.com",
        "azurecontainer.io",
        "azurecr.cn",
        "azurecr.io",
        "azurecr.us",
        "azureedge.net",
        "azurefd.net",
        "azurewebsites.net",
        "backblazeb2.com",
        "blob.core.windows.net",
        "cloudfront.net",
        "cloudfunctions.net",
        "cloudsmith.io",
        "ddns.net",
        "dev",  # pkg.dev, run.dev, fly.dev, pages.dev, r2.dev, workers.dev
        "digitaloceanspaces.com",
        "duckdns.org",
        "dyndns.org",
        "fastly.net",
        "firebaseapp.com",
        "gitea.cloud",
        "github.io",
        "githubusercontent.com",
        "gitlab.io",
        "googleapis.com",
        "googleusercontent.com",
        "herokuapp.com",
        "hf.space",
        "hopto.org",
        "jfrog.io",
        "linodeobjects.com",
        "localtest.me",
        "lvh.me",
        "myhuaweicloud.com",
        "myqcloud.com",
        "netlify.com",
        "ngrok.io",
        "nip.io",
        "no-ip.org",
        "onrender.com",
        "oraclecloud.com",
        "ovh.net",
        "pythonanywhere.com",
        "quickconnect.to",
        "readthedocs.io",
        "render.com",
        "sslip.io",
        "stackhero-network.com",
        "supabase.co",
        "surge.sh",
        "synology.me",
        "tencentcos.cn",
        "trafficmanager.net",
        "traefik.me",
        "ts.net",
        "vultrobjects.com",
        "wasabisys.com",
        "windows.net",
        "xip.io",
        "zapto.org",
    }
)
"""Below these anyone can have a host: no two hosts there share an owner, however long their common end is."""


def same_owner(one: str, other: str) -> bool:
    """Say whether two host names certainly belong to one owner: ``auth.docker.io`` and ``registry-1.docker.io``.

    Addresses and names of one label belong together with nothing but themselves.
    """
    if one == other:
        return True
    domain = registrable_domain(one)
    return domain is not None and domain == registrable_domain(other)


def registrable_domain(host: str) -> str | None:
    """Return the part of a host name that its owner registered, or None where that cannot be told.

    The last two labels, or three where the last two are a country's second level (``co.uk``).
    """
    if host_literal(host) is not None or ":" in host:
        return None
    labels = host.split(".")
    if any(not label for label in labels) or any(".".join(labels[at:]) in _SHARED for at in range(len(labels))):
        return None
    if len(labels) == 1:
        return None
    wanted = 3 if len(labels[-1]) == _COUNTRY_LETTERS and _SECOND_LEVEL.fullmatch(labels[-2]) else 2
    return ".".join(labels[-wanted:]) if len(labels) >= wanted else None
