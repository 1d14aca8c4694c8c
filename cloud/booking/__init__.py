"""One calendar a vehicle: holds, rentals and what crews do; the rental's timeline; search."""
