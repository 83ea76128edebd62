"""The kinds that come with deployments, described without importing what they need."""

from __future__ import annotations

from forgeline.kinds import KindDescriptor

DEPLOYMENT = KindDescriptor(
    name="deployment",
    help="Serve a model over HTTP until the run is stopped.",
    spec="forgeline_deploy.deployment.spec:DeploymentSpec",
    implementation="forgeline_deploy.deployment.kind:DeploymentKind",
)
