"""What runs inside Ray: the kinds train, evaluate and predict, and the data they read."""
