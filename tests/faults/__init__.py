"""What breaks around a proxy, and what becomes of the call: the numbers F01 to F72."""
