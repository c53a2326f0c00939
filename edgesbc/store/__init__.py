"""What outlives the process, in SQL. Every call blocks: the shell makes it in a thread."""
