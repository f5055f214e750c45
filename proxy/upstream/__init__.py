"""The only room that dials out: resolve, check the address, connect, keep connections, splice."""
