"""Each form of REDIS_URL in docs/redis.md against real servers, for calls and for the subscription."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from app.sessions import Pipeline, RedisSessions, StoreUnavailable, Subscription
from deploy.paths import ROOT
from lab.testbed.replicated import Replicated
from lab.testbed.servers import ClusterOfThree, Place, RedisServer
from tests.integration.loading import load
from tests.integration.tls import Certificates, TlsHop

PAGE = (ROOT / "docs/redis.md").read_text()
LIMIT = 1.0


class Heard:
    """A listener that keeps what it is told."""

    def __init__(self) -> None:
        self.channels: list[str] = []

    def subscribed(self, channel: str) -> None:
        self.channels.append(channel)

    def received(self, channel: str, message: bytes) -> None:
        pass


async def works(url: str, *, why_not: str = "") -> None:
    """Both connections that `url` describes work, or both fail with a reason that matches `why_not`."""
    pipeline, heard = Pipeline(url, timeout_seconds=LIMIT), Heard()
    store, subscription = RedisSessions(pipeline), Subscription(url, timeout_seconds=LIMIT)
    subscription.subscribe("news")
    listening = asyncio.create_task(subscription.run(heard))
    try:
        if why_not:
            with pytest.raises(StoreUnavailable, match=why_not) as caught:
                await store.check()
            assert not caught.value.may_have_happened
            await asyncio.sleep(0.1)
            assert heard.channels == []
            return
        await load(store, await store.create("ann"))
        async with asyncio.timeout(5):
            while not heard.channels:
                await asyncio.sleep(0.01)
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        await pipeline.close()


@contextmanager
def served(*places: RedisServer | Replicated | ClusterOfThree) -> Iterator[None]:
    with ExitStack() as running:
        for place in places:
            running.callback(place.stop)
            place.start()
        yield


async def test_nobody_there(tmp_path: Path) -> None:
    """The reason names the address and what happened there: refused, silent, unknown, no such file."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        place = f"127.0.0.1:{silent.getsockname()[1]}"
        await works(f"redis://{place}/1", why_not=f"{place} is silent for 1 s")
    await works(f"redis://{place}", why_not=f"{place}: Connect")
    await works(f"redis+sentinel://{place}/main", why_not=f"0 of 1 Sentinels name it: {place}: ")
    await works(f"redis+cluster://{place}", why_not=f"no connection to Redis: {place}: ")
    path = tmp_path / "none.sock"
    await works(f"unix://{path}", why_not=f"{path}: No such file or directory")


async def test_one_server(tmp_path: Path) -> None:
    """redis:// with a user, a password and a database, each as given; wrong ones are refused by name."""
    server = RedisServer(tmp_path, password="s3c/ret")
    with served(server):
        await works(f"redis://:s3c%2Fret@127.0.0.1:{server.port}/5")
        await works(f"redis://default:s3c%2Fret@localhost:{server.port}?db=6")
        assert server.admin.info("keyspace").keys() == {"db5", "db6"}
        place = f"127.0.0.1:{server.port}"
        await works(
            f"redis://:wrong@{place}", why_not=f"no connection to Redis: {place}: WRONGPASS"
        )
        await works(f"redis://{place}", why_not=f"{place}: NOAUTH")
        await works(f"redis://:s3c%2Fret@127.0.0.1:{server.port}/99", why_not="out of range")


async def test_socket_file(tmp_path: Path) -> None:
    """unix:// with a database and a password."""
    path = tmp_path / "my redis.sock"
    server = RedisServer(tmp_path / "x", "--unixsocket", str(path), password="secret")
    with served(server):
        await works(f"unix://:secret@{tmp_path}/my%20redis.sock?db=2")
        assert server.admin.info("keyspace").keys() == {"db2"}
        await works(f"unix://{tmp_path}/my%20redis.sock", why_not="NOAUTH")


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates.make(tmp_path)


def parameters(certificates: Certificates) -> str:
    key = f"ssl_certfile={certificates.client}&ssl_keyfile={certificates.client_key}"
    return f"ssl_ca_certs={certificates.authority}&{key}"


async def test_tls(tmp_path: Path, certificates: Certificates) -> None:
    """rediss://: the authority, the host's name and the client's own certificate count, for both connections."""
    server = RedisServer(tmp_path / "redis")
    mine = parameters(certificates)
    key = f"ssl_certfile={certificates.client}&ssl_keyfile={certificates.client_key}"
    with served(server):
        hop = TlsHop(server.port, certificates)
        await works(f"rediss://127.0.0.1:{hop.port}/3?{mine}")
        assert hop.over_tls == 2
        await works(f"rediss://127.0.0.1:{hop.port}?{key}", why_not="verify failed")
        await works(f"rediss://127.0.0.1:{hop.port}?{key}&ssl_cert_reqs=none")
        await works(f"rediss://localhost:{hop.port}?{mine}", why_not="mismatch")
        await works(f"rediss://localhost:{hop.port}?{mine}&ssl_check_hostname=0")
        other = f"ssl_ca_certs={certificates.authority}"
        await works(f"rediss://127.0.0.1:{hop.port}?{other}", why_not="lost|alert|certificate")
        hop.close()


async def test_sentinels(tmp_path: Path) -> None:
    """redis+sentinel:// with the passwords of Redis and of the Sentinels, and a database."""
    place = Replicated(tmp_path, password="of-redis", sentinel_password="of-sentinels")
    with served(place):
        await works(place.url.replace("/mymaster/0", "/mymaster/4"))
        assert place.master.admin.info("keyspace").keys() == {"db4"}
        wrong = place.url.replace("sentinel_password=of-sentinels", "sentinel_password=x")
        await works(wrong, why_not="WRONGPASS")
        await works(place.url.replace(":of-redis@", ""), why_not="NOAUTH")
        await works(place.url.replace("/mymaster/", "/another/"), why_not="No such master")


async def test_sentinels_over_tls(tmp_path: Path, certificates: Certificates) -> None:
    """rediss+sentinel://: the Sentinels and the master they name are reached over TLS."""
    place = Replicated(tmp_path / "place", replicas=0)
    hop = TlsHop(place.servers[0].port, certificates)
    place.watch_at(hop.port)
    with served(place):
        hops = [TlsHop(sentinel.port, certificates) for sentinel in place.sentinels]
        hosts = ",".join(f"127.0.0.1:{each.port}" for each in hops)
        await works(f"rediss+sentinel://{hosts}/mymaster?{parameters(certificates)}")
        assert hop.over_tls == 2
        assert all(each.over_tls for each in hops)
        for each in (hop, *hops):
            each.close()


async def test_cluster(shared_cluster: Place) -> None:
    """redis+cluster:// by one of its nodes, by several, and by several of which some are not there."""
    ports = [node.port for node in shared_cluster.nodes]
    await works(f"redis+cluster://127.0.0.1:{ports[0]}")
    await works("redis+cluster://" + ",".join(f"127.0.0.1:{port}" for port in ports))
    await works(f"redis+cluster://127.0.0.1:1,127.0.0.1:{ports[2]},no-such-host.invalid")


async def test_cluster_over_tls(tmp_path: Path, certificates: Certificates) -> None:
    """rediss+cluster://: each node is reached over TLS, where it says it can be reached."""
    cluster = ClusterOfThree(tmp_path / "cluster")
    with served(cluster):
        hops = [TlsHop(node.port, certificates) for node in cluster.nodes]
        cluster.announce([hop.port for hop in hops])
        await works(f"rediss+cluster://127.0.0.1:{hops[0].port}?{parameters(certificates)}")
        assert sum(hop.over_tls for hop in hops) > 2
        for hop in hops:
            hop.close()


def test_page_has_every_form() -> None:
    """The table of docs/redis.md has each form and parameter that is taken, and this file tries each."""
    from app.sessions.wire.address import OVER_TLS, PORTS, SENTINEL_PARAMETERS, TLS_PARAMETERS

    here = Path(__file__).read_text()
    forms = set(re.findall(r"^\| `([a-z+]+)://", PAGE, re.MULTILINE))
    assert forms == {*PORTS, *OVER_TLS}
    assert all(f"{form}://" in here for form in forms)
    named = set(re.findall(r"`(\w+)=", PAGE.partition("| parameter |")[2].partition("\n\n")[0]))
    assert named == {"db", *SENTINEL_PARAMETERS, *TLS_PARAMETERS}
