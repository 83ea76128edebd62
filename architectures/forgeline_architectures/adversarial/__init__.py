"""What adversarial families of one generator and one discriminator are made of; no family itself.

Importing the package imports no torch; its modules do.
"""
