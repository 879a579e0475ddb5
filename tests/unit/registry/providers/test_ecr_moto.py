"""ECR's API as moto plays it: a second opinion on the calls that the emulation of this project answers too."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from mirrord.oci.digest import Digest
from mirrord.oci.reference import Tag
from mirrord.ports.settings import RegistrySettings
from tests.fakes.clients import Client
from tests.fakes.images import make_image
from tests.fakes.internet import Internet
from tests.fakes.profiles import Auth, Profile
from tests.fakes.registries.ecr import ACCOUNT, ECR, HOST, NAMES_ECR, REGION, open_ecr, use_aws

pytestmark = pytest.mark.anyio

PATH = "team/app"
PASSWORD = f"{ACCOUNT}-auth-token"
PROFILE = Profile(name="ecr", auth=Auth(scheme="basic", user="AWS", password=PASSWORD), manifests=ECR.manifests)
"""A registry that accepts the password that moto gives."""


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A client of moto's ECR, which is where boto3 is led to."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        use_aws(monkeypatch, f"http://{host}:{port}")
        urllib.request.urlopen(f"http://{host}:{port}/moto-api/reset", data=b"").close()
        client = boto3.client("ecr", region_name=REGION)
        yield client
        client.close()
    finally:
        server.stop()


@pytest.mark.parametrize("trap", [pytest.param("", id="trap-10-moto")])
async def test_token_of_moto_is_used_although_it_ended_in_2015(aws: Any, trap: str) -> None:
    async with Internet() as internet:
        registry = await internet.join(PROFILE, NAMES_ECR)
        registry.switches.created.add(PATH)
        async with open_ecr(internet) as client:
            for _ in range(5):
                assert await client.reader().head(Tag("1.0")) is None
                client.clock.advance(61)
            source = client.gateway.handle(HOST).service.api.credential
            credential = await source()

    assert credential is not None
    assert (credential.username, credential.secret) == ("AWS", PASSWORD)
    assert credential.expires_at is None
    assert {record.status for record in registry.traffic.of("manifest GET")} == {404}


async def create(settings: RegistrySettings) -> Client:
    async with Internet() as internet:
        await internet.join(PROFILE, NAMES_ECR)
        async with open_ecr(internet, settings=settings) as client:
            await client.writer(PATH).ensure_exists()
            await client.writer(PATH).ensure_exists()
            return client


@pytest.mark.parametrize("trap", [pytest.param("", id="trap-38-moto")])
async def test_repository_is_created_with_what_is_configured(aws: Any, trap: str) -> None:
    policy = json.dumps(
        {
            "rules": [
                {
                    "rulePriority": 1,
                    "selection": {"tagStatus": "untagged", "countType": "imageCountMoreThan", "countNumber": 10},
                    "action": {"type": "expire"},
                }
            ]
        }
    )
    settings = RegistrySettings(
        host=HOST,
        create_repositories={
            "tag_immutability": True,
            "scan_on_push": True,
            "tags": {"team": "platform"},
            "encryption": {"type": "KMS", "key": f"arn:aws:kms:{REGION}:{ACCOUNT}:key/1"},
            "lifecycle_policy": policy,
        },
    )
    client = await create(settings)

    [found] = aws.describe_repositories()["repositories"]
    assert (found["repositoryName"], found["registryId"]) == (PATH, ACCOUNT)
    assert found["imageTagMutability"] == "IMMUTABLE"
    assert found["imageScanningConfiguration"] == {"scanOnPush": True}
    assert found["encryptionConfiguration"]["encryptionType"] == "KMS"
    assert aws.list_tags_for_resource(resourceArn=found["repositoryArn"])["tags"] == [
        {"Key": "team", "Value": "platform"}
    ]
    assert json.loads(aws.get_lifecycle_policy(repositoryName=PATH)["lifecyclePolicyText"]) == json.loads(policy)
    assert client.events.notes() == ["repository_created"]


async def test_repository_that_is_there_already_is_a_success(aws: Any) -> None:
    """The registry of this test does not show it; AWS then says that it exists."""
    aws.create_repository(repositoryName=PATH)

    client = await create(RegistrySettings(host=HOST))

    assert client.events.notes() == []


async def test_repositories_and_digests_are_listed(aws: Any) -> None:
    aws.create_repository(repositoryName=PATH)
    aws.create_repository(repositoryName="other")
    image = make_image("app", docker=True)
    for tag in ("1.0", "latest"):
        aws.put_image(repositoryName=PATH, imageManifest=image.raw.decode(), imageTag=tag)
    [detail] = aws.describe_images(repositoryName=PATH)["imageDetails"]
    async with Internet() as internet:
        await internet.join(PROFILE, NAMES_ECR)
        async with open_ecr(internet) as client:
            assert await client.repositories("team/") == [PATH]
            found = {
                str(entry.tag): entry.digest async for page in client.reader().bulk_tags() for entry in page.entries
            }

    assert found == dict.fromkeys(("1.0", "latest"), Digest.parse(detail["imageDigest"]))


@pytest.mark.parametrize("trap", [pytest.param("", id="trap-40-moto")])
async def test_tag_goes_alone_and_the_image_with_its_last_tag(aws: Any, trap: str) -> None:
    aws.create_repository(repositoryName=PATH)
    image = make_image("app", docker=True)
    for tag in ("1.0", "latest"):
        aws.put_image(repositoryName=PATH, imageManifest=image.raw.decode(), imageTag=tag)
    async with Internet() as internet:
        await internet.join(PROFILE, NAMES_ECR)
        async with open_ecr(internet) as client:
            await client.writer().delete(Tag("1.0"))
            [left] = aws.describe_images(repositoryName=PATH)["imageDetails"]
            assert left["imageTags"] == ["latest"]
            await client.writer().delete(Tag("latest"))
            await client.writer().delete(Tag("latest"))

    assert aws.describe_images(repositoryName=PATH)["imageDetails"] == []
