"""Lightning modules that orchestrate a step, and the run around them: phases, checkpoints, logs."""
