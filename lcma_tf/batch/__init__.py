"""Every image of a folder, an array or a file of records into one table of scores, however many."""
