"""What diffusion families are made of; no family itself.

`config` imports no torch; `noise_schedule`, `sampling`, `learning` and `unet` do.
"""
