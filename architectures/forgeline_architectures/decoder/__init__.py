"""The decoder that the GPT, LLaMA, PaLM and LaMDA families are made of; no family itself.

`config` and `design` import no torch; the parts (`attention`, `feed_forward`, `positions`) and `model` do.
"""
