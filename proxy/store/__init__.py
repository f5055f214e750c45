"""Store: what survives the process, written behind the guards. Never asked on the way of a call."""
