from bench.mutants.mutant import Named

NAMED: tuple[Named, ...] = ()
