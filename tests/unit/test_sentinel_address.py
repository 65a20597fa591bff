"""REDIS_URL as the address of Sentinels: what it may be, what is wrong with it, and never the password."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.errors import SettingsError
from worker.redis_store import PLACE_UNREADABLE, RedisStore, place_of
from worker.sentinel_address import SentinelAddress, is_sentinel

PASSWORD: Final = "p4ss-w0rd"
THREE: Final = (("s1", 26379), ("s2", 26380), ("s3", 26379))


@pytest.mark.parametrize(
    "url",
    [
        f"redis+sentinel://:{PASSWORD}@s1:26379,s2:26380,s3:26379/mymaster/3",
        f"redis+sentinel://:{PASSWORD}@s1,s2:26380,s3/mymaster/3",
        f"sentinel://:{PASSWORD}@s1,s2:26380,s3/mymaster/3",
        f"sentinel://:{PASSWORD}@s1:26379;s2:26380;s3:26379/mymaster/3",
        f"sentinel://:{PASSWORD}@s1:26379;sentinel://s2:26380;sentinel://s3:26379/mymaster/3",
        f"sentinel://:{PASSWORD}@s1;sentinel://:{PASSWORD}@s2:26380;sentinel://:{PASSWORD}@s3/mymaster/3",
    ],
)
def test_there_are_several_ways_to_write_the_same_address(url: str) -> None:
    assert is_sentinel(url)
    assert SentinelAddress.of(url) == SentinelAddress(THREE, "mymaster", 3, password=PASSWORD)


def test_what_is_not_said_has_a_default() -> None:
    assert SentinelAddress.of("redis+sentinel://s1/mymaster") == SentinelAddress((("s1", 26379),), "mymaster", 0)
    assert SentinelAddress.of("redis+sentinel://s1/mymaster/").database == 0


def test_a_host_may_be_of_ipv6_and_a_primary_a_number_with_its_database() -> None:
    address = SentinelAddress.of("redis+sentinel://[::1]:5000,[fd00::2]/7/1")
    assert address.hosts == (("::1", 5000), ("fd00::2", 26379))
    assert (address.primary, address.database) == ("7", 1)
    assert address.place == "[::1]:5000,[fd00::2]:26379/7/1"


def test_redis_and_the_sentinels_may_have_users_of_their_own() -> None:
    url = "redis+sentinel://me:a%40b%2Fc@s1/mymaster/0?sentinel_username=you&sentinel_password=d%26e%3Bf"
    address = SentinelAddress.of(url)
    assert (address.username, address.password) == ("me", "a@b/c")
    assert (address.sentinel_username, address.sentinel_password) == ("you", "d&e;f")


def test_tls_is_for_redis_and_the_sentinels_alike() -> None:
    assert SentinelAddress.of("redis+sentinel://s1/mymaster").tls is None
    assert SentinelAddress.of("rediss+sentinel://s1/mymaster").tls == {}
    address = SentinelAddress.of("rediss+sentinel://s1/mymaster?ssl_ca_certs=/ca.pem&ssl_check_hostname=no")
    assert address.tls == {"ssl_ca_certs": "/ca.pem", "ssl_check_hostname": "no"}


@pytest.mark.parametrize(
    ("url", "wrong"),
    [
        ("redis+sentinel://", "name the primary"),
        (f"redis+sentinel://:{PASSWORD}@s1:26379", "name the primary"),
        (f"redis+sentinel://:{PASSWORD}@s1:26379/", "name the primary"),
        (f"redis+sentinel://:{PASSWORD}@s1:26379/0", "name the primary"),
        (f"sentinel://:{PASSWORD}@s1:26379;sentinel://s2:26379/0", "name the primary"),
        (f"redis+sentinel://:{PASSWORD}@s1/mymaster/zero", "number its database"),
        (f"redis+sentinel://:{PASSWORD}@s1/mymaster/0/1", "number its database"),
        (f"redis+sentinel://:{PASSWORD}@/mymaster/0", "must be host:port"),
        (f"redis+sentinel://:{PASSWORD}@s1:port/mymaster/0", "must be host:port"),
        (f"redis+sentinel://:{PASSWORD}@s1:99999/mymaster/0", "must be host:port"),
        (f"redis+sentinel://:{PASSWORD}@s1:0/mymaster/0", "must be host:port"),
        (f"redis+sentinel://:{PASSWORD}@s1,/mymaster/0", "must be host:port"),
        (f"redis+sentinel://:{PASSWORD}@[::1/mymaster/0", "must be host:port"),
        (f"redis+sentinel://{PASSWORD}@s1/mymaster/0", "user:password or :password"),
        (f"redis+sentinel://:{PASSWORD}/x@s1/mymaster/0", "percent-encoded"),
        (f"redis+sentinel://:{PASSWORD}@x@s1/mymaster/0", "percent-encoded"),
        (f"redis+sentinel://:{PASSWORD};x@s1/mymaster/0", "percent-encoded"),
        (f"redis+sentinel://:#{PASSWORD}@s1/mymaster/0", "there is a '#' in it"),
        (f"redis+sentinel://:?{PASSWORD}@s1/mymaster/0", "percent-encoded"),
        (f"sentinel://:{PASSWORD}@s1;sentinel://:other@s2/mymaster/0", "different users or passwords"),
        (f"redis+sentinel://s1/mymaster/0?password={PASSWORD}", "only sentinel_username, sentinel_password may stand"),
        (f"redis+sentinel://s1/mymaster/0?{PASSWORD}", "may stand, each with its value"),
        ("redis+sentinel://s1/mymaster/0?ssl_ca_certs=/ca.pem", "only sentinel_username, sentinel_password may"),
    ],
)
def test_a_wrong_one_is_refused_by_the_part_that_is_wrong(url: str, wrong: str) -> None:
    with pytest.raises(SettingsError, match=r"^REDIS_URL is no address of Sentinels: ") as caught:
        RedisStore(url)
    assert wrong in str(caught.value)
    assert PASSWORD not in str(caught.value)
    assert caught.value.__context__ is None
    assert place_of(url) == PLACE_UNREADABLE


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=4).map(lambda text: f"<{text}>"))
def test_a_password_comes_back_as_it_was_and_shows_nowhere(password: str) -> None:
    encoded = quote(password, safe="")
    url = f"redis+sentinel://me:{encoded}@s1,s2/mymaster/0?sentinel_password={encoded}"
    address = SentinelAddress.of(url)
    assert (address.password, address.sentinel_password) == (password, password)
    for shown in (repr(address), str(address), address.place, place_of(url), repr(RedisStore(url))):
        assert password not in shown
        assert encoded not in shown


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=4).map(lambda text: f"<{text}>"))
def test_a_password_that_is_not_encoded_shows_nowhere_either(password: str) -> None:
    url = f"redis+sentinel://me:{password}@s1/mymaster/0"
    assert password not in place_of(url)
    try:
        SentinelAddress.of(url)
    except SettingsError as error:
        assert password not in str(error)  # noqa: PT017 - most are refused, some are as good as encoded
