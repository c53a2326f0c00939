"""What outlives the process: policies in SQL, bans in a file. Every call blocks: the shell makes it in a thread."""
