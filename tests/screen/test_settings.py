"""Settings of screening: defaults, values from a TOML policy, and errors that name what was expected."""

from __future__ import annotations

import tomllib

import attrs
import cattrs
import pytest

from edgesbc.base.address import Zone
from edgesbc.screen.settings import ScreenSettings
from edgesbc.screen.stages import STAGES
from edgesbc.screen.stages.acl import AclSettings
from edgesbc.screen.stages.admission import AdmissionSettings
from edgesbc.screen.stages.guess import GuessSettings
from edgesbc.screen.stages.method import MethodSettings
from edgesbc.screen.stages.overload import OverloadSettings
from edgesbc.screen.stages.pike import PikeSettings
from edgesbc.screen.stages.ratelimit import BucketSettings
from edgesbc.screen.stages.sanity import SanitySettings


def test_everything_is_on_by_default() -> None:
    settings = ScreenSettings()
    assert settings.mode == "enforce"
    assert settings.stages == tuple(STAGES) == (
        "acl", "pike", "ratelimit", "sanity", "scanner", "method", "guess", "admission", "overload",
    )  # fmt: skip
    assert settings.admission.open == ()
    assert settings.guess.same_answer
    assert settings.shadow == ()
    assert {bucket.name for bucket in settings.ratelimit} == {"invites-per-source", "registers-per-source"}


def test_every_stage_has_its_settings_under_its_name() -> None:
    fields = {field.name for field in attrs.fields(ScreenSettings)}
    assert set(STAGES) <= fields
    for name, stage in STAGES.items():
        assert stage.__module__ == f"edgesbc.screen.stages.{name}"  # type: ignore[attr-defined]


def test_a_policy_s_table_becomes_settings() -> None:
    text = """
    mode = "shadow"
    stages = ["acl", "pike", "ratelimit"]
    [acl]
    deny = ["192.0.2.0/24"]
    [pike]
    sampling_time_unit = 2
    reqs_density_per_unit = 30
    remove_latency = 120
    [[ratelimit]]
    name = "invites-per-source"
    key = "source"
    methods = ["INVITE"]
    rate = 5
    burst = 10
    """
    converter = cattrs.Converter(forbid_extra_keys=True)
    settings = converter.structure(tomllib.loads(text), ScreenSettings)
    assert settings.acl.deny == ("192.0.2.0/24",)
    assert settings.ratelimit == (BucketSettings("invites-per-source", "source", ("INVITE",), 5.0, 10),)
    assert settings.pike == PikeSettings()


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: ScreenSettings(mode="on"), "mode: expected one of enforce, shadow; found 'on'"),
        (lambda: ScreenSettings(stages=("acl", "pyke")), "expected stages among acl, .*found 'pyke'"),
        (lambda: ScreenSettings(stages=("acl", "acl")), "expected each stage once"),
        (lambda: ScreenSettings(shadow=("x",)), "shadow: expected stages among"),
        (lambda: ScreenSettings(max_ban_share=1.5), "max_ban_share: expected a number from 0 to 1, found 1.5"),
        (lambda: ScreenSettings(ratelimit=(BucketSettings("a"), BucketSettings("a"))), "different names"),
        (lambda: AclSettings(deny=("example.com",)), "deny: expected addresses or prefixes .* found 'example.com'"),
        (lambda: PikeSettings(sampling_time_unit=0), "sampling_time_unit: expected a number above 0, found 0"),
        (lambda: PikeSettings(sampling_time_unit=float("inf")), "expected a number above 0, found inf"),
        (lambda: PikeSettings(reqs_density_per_unit=0), "expected a number from 1 to 10000, found 0"),
        (lambda: PikeSettings(remove_latency=-1), "remove_latency: expected a number above 0"),
        (lambda: PikeSettings(tracker_entries=1), "tracker_entries: expected a number from 16"),
        (lambda: BucketSettings("a", key="ip"), "key: expected one of source, prefix, .*found 'ip'"),
        (lambda: BucketSettings("a", methods=("invite",)), "expected SIP methods in capitals, found 'invite'"),
        (lambda: BucketSettings("a", rate=0), "rate: expected a number above 0"),
        (lambda: BucketSettings("a", burst=0), "burst: expected a number from 1"),
        (lambda: MethodSettings(public=("",)), "public: expected SIP methods"),
        (lambda: SanitySettings(via_hops=0), "via_hops: expected a number from 1 to 70"),
        (lambda: AdmissionSettings(ringing=0), "ringing: expected a number from 1 to 20000, found 0"),
        (lambda: GuessSettings(tries=0), "tries: expected a number from 1 to 1000, found 0"),
        (lambda: GuessSettings(user_tries=1001), "user_tries: expected a number from 1 to 1000"),
        (lambda: GuessSettings(window=0), "window: expected a number above 0"),
        (lambda: OverloadSettings(lag=0), "lag: expected a number from 0.01 to 1"),
        (lambda: OverloadSettings(transactions=100_001), "transactions: expected a number from 1 to 100000"),
    ],
)
def test_the_error_for_a_wrong_value_names_what_was_expected(make, expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        make()


def test_allowed_methods_by_zone() -> None:
    settings = MethodSettings(public=("INVITE",), core=("BYE",))
    assert settings.allowed(Zone.PUBLIC) == ("INVITE",)
    assert settings.allowed(Zone.CORE) == ("BYE",)
