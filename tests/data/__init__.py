"""Tests of museg.data."""
