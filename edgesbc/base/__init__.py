"""The bottom floor: addresses, bounds, errors, reasons and timers. Imports nothing of ours."""
