"""The command line: `mlpasses run|inspect|diff|passes`. One module a command, imported when it is called; see docs/cli.md."""
