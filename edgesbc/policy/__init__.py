"""The policy: a TOML file as frozen values, every mistake in it named by file and key. Runs nothing."""
