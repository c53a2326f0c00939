"""The media plane: NG commands, sessions and the RTP relay."""
