"""The NG protocol, by which SIP proxies control rtpengine: a server of the media plane, and a client of rtpengines."""
