"""Whether a run that is killed and resumed takes the course of one that is not."""
