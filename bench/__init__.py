"""The benchmark: dwebbackup beside other tools, on one database, in one run. `make bench`."""
