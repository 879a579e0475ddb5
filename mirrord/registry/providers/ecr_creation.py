"""What a new repository of ECR gets, from the settings under ``create_repositories``.

Source: AWS API_CreateRepository, API_EncryptionConfiguration.
"""

from __future__ import annotations

from collections.abc import Mapping


def creation_parameters(path: str, settings: Mapping[str, object]) -> dict[str, object]:
    """Return the parameters of CreateRepository; what is not set is left to the defaults of AWS."""
    parameters: dict[str, object] = {"repositoryName": path}
    if settings.get("tag_immutability"):
        parameters["imageTagMutability"] = "IMMUTABLE"
    if settings.get("scan_on_push"):
        parameters["imageScanningConfiguration"] = {"scanOnPush": True}
    encryption = settings.get("encryption")
    if isinstance(encryption, Mapping):
        key = encryption.get("key")
        parameters["encryptionConfiguration"] = {
            "encryptionType": encryption.get("type"),
            **({"kmsKey": key} if key else {}),
        }
    tags = settings.get("tags")
    if isinstance(tags, Mapping) and tags:
        parameters["tags"] = [{"Key": key, "Value": value} for key, value in tags.items()]
    return parameters


def lifecycle_policy(settings: Mapping[str, object]) -> str | None:
    """Return the JSON text of the lifecycle policy, or None where a repository gets none."""
    policy = settings.get("lifecycle_policy")
    return policy if isinstance(policy, str) and policy else None
