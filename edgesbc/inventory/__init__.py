"""Destinations as rows of tables and lists of other programs (Kamailio, OpenSIPS), read into settings of members."""
