"""The lowest package: addresses, limits, errors, reasons, deadlines, validation, file access. Imports no other one."""
