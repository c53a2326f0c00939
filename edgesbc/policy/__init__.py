"""The policy: a TOML file as frozen values, with every mistake named by file and key."""
