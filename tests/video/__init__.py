"""Tests of museg.video."""
