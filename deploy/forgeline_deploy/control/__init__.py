"""What decides while a deployment serves: windows are judged, alerts told, a rollout conducted, a retraining wanted.

The journal of the run is the only memory. The controller, a process of its own, reads and writes it; the driver and the
ingress do what follows from it. Each of the three may be killed at any moment, and goes on from there.
"""
