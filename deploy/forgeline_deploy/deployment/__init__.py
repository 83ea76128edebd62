"""The kind `deployment`: a model version that is served for as long as the run goes on."""
