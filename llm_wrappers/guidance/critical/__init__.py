"""Critical states (ULTRA): the table, what finds them, and what corrects them."""
