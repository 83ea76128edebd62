"""Training a deployed model again when the world has moved: once, within a budget, gated, as the challenger."""
