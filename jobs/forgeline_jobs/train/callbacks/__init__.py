"""What happens around the training loop: random numbers, the step log, validation, checkpoints."""
