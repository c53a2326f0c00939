"""Destinations from tables and lists, also those of Kamailio and OpenSIPS, converted to settings of members,
sans-I/O."""
