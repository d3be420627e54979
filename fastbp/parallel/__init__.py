"""How threads share work: the parallel region, teams, the account of what sharing brings, turns."""
