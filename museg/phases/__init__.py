"""What the optimizer step alone decides: phase, learning rate, batch. Pure functions of the step."""
