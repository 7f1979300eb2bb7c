"""How fast the service is beside others that serve the same artifact: one run, the same cores, the same pictures."""
