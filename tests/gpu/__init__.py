"""Checks on one CUDA GPU; skipped where there is none. `python -m tests.gpu.run_all` runs them and measures a step."""
