"""The walk of a call. Knows no sockets and no library that has them: it sees an `Exchange`."""
