"""Small command lines beside training, each run as `python -m museg.commands.<name>`."""
