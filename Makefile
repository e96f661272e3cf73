# Verbs for daily work, inside the activated virtual environment (README: set-up).
.PHONY: install run test cluster thorough fast lint format clean

install: ## install museg, what the tests need, and the commit hooks
	python -m pip install -e '.[dev]' -c constraints.txt
	pre-commit install

run: ## the main job: the tiny model learns on this machine
	python train.py

test: ## everything but what needs a cluster's programs
	pytest

cluster: ## SLURM and DeepSpeed, on this machine
	pytest -m cluster

thorough: ## several processes, more learning and sweeps, minutes
	pytest -m thorough

fast: ## everything but what is marked slow
	pytest -m "not slow and not cluster and not thorough"

lint: ## style, as the commit hooks see it
	ruff check .
	ruff format --check .

format: ## put style right
	ruff check --fix .
	ruff format .

clean: ## throw away caches, never runs
	rm -rf .pytest_cache .ruff_cache .hypothesis build *.egg-info
