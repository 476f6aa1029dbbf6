"""Files that are whole or not there: how they are written, read strictly, named and locked."""
