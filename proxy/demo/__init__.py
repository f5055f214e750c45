"""The scripted agent, its tool server and the table that `make demo` shows."""
