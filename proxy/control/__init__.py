"""The operator's side: the control API and the health port. The proxy port cannot reach it."""
