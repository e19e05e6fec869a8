"""Requests to lines and back: pure functions over values and bytes, no I/O, no clock."""
