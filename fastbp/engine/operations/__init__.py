"""The operations of a network's table, a file each."""
