"""Fuzz targets for what reads bytes from the network. Not part of the package that is installed."""
