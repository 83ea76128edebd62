"""What a training would need and cost, told before anything starts: memory per worker, devices, time and money.

`model_states`, `transformer_block`, `devices`, `choice` and `estimate` are arithmetic without torch; `counting` and
`activations` look at the real module, which takes no memory for its weights.
"""
