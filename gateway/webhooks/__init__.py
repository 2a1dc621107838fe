"""Who is told what happens to jobs, gates and aliases: signed, at least once."""
