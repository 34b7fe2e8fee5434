"""Files that several threads and processes share, and that nobody finds half written."""
