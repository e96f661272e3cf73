"""Objectives: what one optimizer step minimises."""
