"""MUSEG: reinforcement learning of timestamp-aware multi-segment video grounding (arXiv 2505.20715)."""
