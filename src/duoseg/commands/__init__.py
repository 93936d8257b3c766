"""The public functions, one module a command. The command line and ``duoseg``'s Python API both call these."""
