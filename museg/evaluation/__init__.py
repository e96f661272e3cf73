"""Benchmarks: reading them, answering them with a model, scoring answers from anywhere, comparing the results."""
