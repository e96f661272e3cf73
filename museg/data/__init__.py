"""Annotated examples: reading them, the order a run takes them in, and their clips decoded ahead of training."""
