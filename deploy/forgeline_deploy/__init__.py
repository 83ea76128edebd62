"""What comes after training: models that are in use, watched."""
