"""The media plane: commands from signalling, media sessions and the relay of RTP and RTCP."""
