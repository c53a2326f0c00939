"""Keys and flags of commands: read, refused and ignored."""

import pytest

from edgesbc.base import limits
from edgesbc.base.errors import WireError
from edgesbc.ng.flags import FLAGS, KEYS, LISTS, Effect, normal, of_flag
from edgesbc.ng.options import read_options

NAMES = {"call-id": "c", "from-tag": "a"}


def options(**keys):
    return read_options(NAMES | {key.replace("_", "-"): value for key, value in keys.items()})


def refusal(**keys):
    with pytest.raises(WireError) as caught:
        options(**keys)
    return caught.value.reason


def test_what_kamailio_sends():
    """The dictionary of its module 5.6 for `rtpengine_offer("replace-origin replace-session-connection ICE=remove
    direction=pub direction=priv")`, as captured."""
    read = options(
        supports=["load limit"], sdp="v=0\r\n", ICE="remove", direction=["pub", "priv"], flags=["trust-address"],
        replace=["origin", "session-connection"], received_from=["IP4", "198.51.100.7"],
        sip_message_type="request", command="offer",
    )  # fmt: skip
    assert read.direction == ("pub", "priv")
    assert read.received_from == "198.51.100.7"
    assert read.load_limit
    assert read.ignored == ()


@pytest.mark.parametrize("key", ["received-from", "received from", "received_from", "Received-From"])
def test_blanks_underscores_and_case_do_not_matter(key):
    assert read_options(NAMES | {key: ["IP6", "2001:DB8::0"]}).received_from == "2001:db8::"


def test_the_text_of_flags_says_the_same_as_keys():
    read = options(
        rtpp_flags="trust-address replace-origin direction=pub direction=priv RTP/AVPF address-family=IP6 "
        "received-from=198.51.100.7 rtcp-mux-demux label=caller ICE=remove"
    )
    assert read == options(
        direction=["pub", "priv"], transport_protocol="RTP/AVPF", address_family="IP6",
        received_from=["IP4", "198.51.100.7"], rtcp_mux=["demux"], label="caller", ICE="remove",
    )  # fmt: skip
    assert options(rtpp_flags="internal external").direction == ("internal", "external")


def test_lists_may_stand_in_flags():
    assert options(flags=["rtcp-mux-reject"]).without_rtcp_mux
    assert of_flag("sdes-off") == ("sdes", "off")
    assert of_flag("t38-decode") == of_flag("t.38-decode") == ("t.38", "decode")
    assert of_flag("no-such-flag") == ("flags", "no-such-flag")


def test_the_source_of_the_sip_message_or_an_address_stands_in_for_the_description():
    source = ["IP4", "198.51.100.7"]
    assert options(flags=["SIP source address"], received_from=source).media_address == "198.51.100.7"
    assert options(media_address="198.51.100.8", flags=["sip-source-address"]).media_address == "198.51.100.8"
    assert options(received_from=source).media_address == ""
    assert "received-from" in refusal(flags=["SIP-source-address"])


@pytest.mark.parametrize(
    "keys",
    [
        *({name: "x"} for name, known in KEYS.items() if known.effect is Effect.REFUSED),
        *({"flags": [name]} for name, known in FLAGS.items() if known.effect is Effect.REFUSED),
        *(
            {"flags": [f"{name}-{word or 'any'}"]}
            for name, words in LISTS.items()
            for word, known in words.items()
            if known.effect is Effect.REFUSED
        ),
        {"rtcp-mux": ["require"]}, {"T.38": ["decode"]}, {"ICE": "force"}, {"record call": "yes"},
        {"transport-protocol": "UDP/TLS/RTP/SAVPF"}, {"codec": {"strip": ["PCMU"]}}, {"rtpp-flags": "transcode-PCMU"},
    ],
)  # fmt: skip
def test_what_would_change_media_in_a_way_that_there_is_not_is_refused_by_name(keys):
    with pytest.raises(WireError) as caught:
        read_options(NAMES | keys)
    (key,) = keys
    words = keys[key] if isinstance(keys[key], list) else []
    assert any(word.lower() in caught.value.reason.lower() for word in (normal(key), *words, "transcode"))


def test_accepted_and_unknown_flags_refuse_nothing():
    accepted = [name for name, known in FLAGS.items() if known.effect is Effect.ACCEPTED]
    read = options(
        flags=[*accepted, "SDES-off", "brand-new"], replace=["zero-address"], SDES=["no-AEAD"], brand_new=[1]
    )
    assert read.ignored == ("brand-new",)


@pytest.mark.parametrize(
    ("keys", "word"),
    [
        ({"call_id": ""}, "call-id"), ({"call_id": 5}, "call-id"), ({"from_tag": ""}, "from-tag"),
        ({"call_id": "x" * (limits.NG_NAME_BYTES + 1)}, "call-id"), ({"sdp": ["x"]}, "sdp"),
        ({"flags": "trust-address"}, "flags"), ({"flags": [1]}, "flags"),
        ({"flags": ["x"] * (limits.NG_WORDS + 1)}, "flags"), ({"direction": ["pub"]}, "direction"),
        ({"direction": ["pub", "priv", "x"]}, "direction"), ({"address_family": "IP5"}, "address-family"),
        ({"received_from": ["IP4"]}, "received-from"), ({"received_from": ["IP4", "host"]}, "received-from"),
        ({"received_from": ["?", "198.51.100.7"]}, "received-from"), ({"media_address": "x.example"}, "media-address"),
        ({"transport_protocol": "TCP"}, "transport-protocol"), ({"delete_delay": -1}, "delete-delay"),
        ({"delete_delay": "soon"}, "delete-delay"), ({"limit": "-3"}, "limit"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_named(keys, word):
    assert word in refusal(**keys)


def test_a_key_in_two_spellings_is_refused():
    with pytest.raises(WireError, match="twice"):
        read_options(NAMES | {"to-tag": "b", "to tag": "c"})


def test_texts_that_are_kept_are_cut_and_numbers_bounded():
    read = options(label="l" * 1_000, metadata="m" * 10_000, delete_delay=10**9, limit="7")
    assert (len(read.label), len(read.metadata)) == (limits.NG_LABEL_BYTES, limits.NG_METADATA_BYTES)
    assert (read.delay, read.limit) == (limits.NG_DELAY_SECONDS, 7)


def test_a_reason_shows_no_control_characters_of_the_client():
    assert "\x1b" not in refusal(transport_protocol="\x1b[2J" * 40)
