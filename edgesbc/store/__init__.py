"""Files and databases: state that outlives the process, and destinations from tables of other programs."""
