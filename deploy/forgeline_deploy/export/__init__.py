"""`forgeline export`: the command; what it calls is `forgeline.export`."""
