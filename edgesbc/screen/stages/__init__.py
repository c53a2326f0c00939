"""One file a stage; the file's name is its policy key and its metric label."""
