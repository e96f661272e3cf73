"""Arithmetic on time segments: seconds in, numbers out, no model and no configuration."""
