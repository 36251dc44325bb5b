"""Kill -9 at random and at every durable write, then judge from the records and the histories what became of runs."""
